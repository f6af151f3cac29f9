import { describe, expect, it } from "vitest";
import { adaptBudget, isDone, LEAST_ARROWS, MOST_ARROWS, MOVE, Player, REST, timeAt } from "../../src/engine";

const BEAT = MOVE + REST;

describe("timeAt", () => {
  it("moves, rests at every stop, and stays at the last", () => {
    expect(timeAt(0, 0, 1, 5, false)).toBe(0);
    expect(timeAt(0, MOVE / 2, 1, 5, false)).toBeCloseTo(0.5);
    for (const rest of [0, 1, REST / 2, REST - 1]) {
      expect(timeAt(0, MOVE + rest, 1, 5, false)).toBe(1);
      expect(timeAt(0, BEAT + MOVE + rest, 1, 5, false)).toBe(2);
    }
    expect(timeAt(0, BEAT + MOVE / 2, 1, 5, false)).toBeCloseTo(1.5);
    expect(timeAt(0, 1e9, 1, 5, false)).toBe(4);
    expect(timeAt(4, 10, 1, 5, false)).toBe(4);
    expect(timeAt(0, 500, 1, 1, false)).toBe(0);
  });

  it("never goes back and never passes a stop without resting", () => {
    for (const start of [0, 0.3, 2, 2.99]) {
      let last = -1;
      const rests = new Map<number, number>();
      for (let ms = 0; ms < 8 * BEAT; ms += 4) {
        const now = timeAt(start, ms, 1, 6, false);
        expect(now).toBeGreaterThanOrEqual(last);
        last = now;
        if (Number.isInteger(now)) rests.set(now, (rests.get(now) ?? 0) + 4);
      }
      for (let s = Math.ceil(start) || 1; s < 5; s++) if (s > start) expect(rests.get(s), `${start} ${s}`).toBeGreaterThanOrEqual(REST - 8);
    }
  });

  it("begins where it was left, between two stops", () => {
    expect(timeAt(1.4, 0, 1, 5, false)).toBeCloseTo(1.4);
    expect(timeAt(1.4, 0.6 * MOVE, 1, 5, false)).toBe(2);
    expect(timeAt(1.4, 0.6 * MOVE + REST + MOVE, 1, 5, false)).toBe(3);
  });

  it("is faster at a higher speed", () => {
    expect(timeAt(0, BEAT, 4, 9, false)).toBe(timeAt(0, 4 * BEAT, 1, 9, false));
    expect(timeAt(1, 1000, 0, 9, false)).toBe(1);
  });

  it("only jumps when motion is reduced", () => {
    for (let ms = 0; ms < 6 * BEAT; ms += 17) expect(Number.isInteger(timeAt(0.5, ms, 1, 5, true))).toBe(true);
    expect(timeAt(0, BEAT - 1, 1, 5, true)).toBe(0);
    expect(timeAt(0, BEAT, 1, 5, true)).toBe(1);
    expect(timeAt(0.5, 0, 1, 5, true)).toBe(1);
    expect(timeAt(0, 1e6, 1, 5, true)).toBe(4);
  });
});

describe("Player", () => {
  it("plays to the end and stops; begins anew from there", () => {
    const player = new Player();
    player.play(1, 1000, 4);
    expect(player.tick(1000 + MOVE / 2, 4, false)).toBeCloseTo(1.5);
    expect(player.playing).toBe(true);
    expect(player.tick(1e9, 4, false)).toBe(3);
    expect(player.playing).toBe(false);
    player.play(3, 0, 4);
    expect(player.tick(0, 4, false)).toBe(0);
    player.pause();
    expect(player.playing).toBe(false);
  });

  it("changes speed without a jump", () => {
    const player = new Player();
    player.play(0, 0, 9);
    const before = player.tick(MOVE * 0.6, 9, false);
    player.setSpeed(3, MOVE * 0.6, 9, false);
    expect(player.speed).toBe(3);
    expect(player.tick(MOVE * 0.6, 9, false)).toBeCloseTo(before);
    expect(player.tick(MOVE * 0.6 + 100, 9, false)).toBeGreaterThan(before);
  });

  it("knows the end", () => {
    expect(isDone(2.99, 4)).toBe(false);
    expect(isDone(3, 4)).toBe(true);
  });
});

describe("adaptBudget", () => {
  it("gives way when frames are slow, recovers when quick, within limits", () => {
    expect(adaptBudget(1000, 100)).toBeLessThan(700);
    expect(adaptBudget(1000, 10)).toBeGreaterThan(1000);
    expect(adaptBudget(1000, 33)).toBe(1000);
    expect(adaptBudget(1000, NaN)).toBe(1000);
    let budget = 3000;
    for (let i = 0; i < 50; i++) budget = adaptBudget(budget, 500);
    expect(budget).toBe(LEAST_ARROWS);
    for (let i = 0; i < 100; i++) budget = adaptBudget(budget, 5);
    expect(budget).toBe(MOST_ARROWS);
  });
});
