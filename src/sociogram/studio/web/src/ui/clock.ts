/** Time: plays from stop to stop, and glides a few stops when one steps. With reduced motion it only ever jumps. */
import { effect, untracked } from "@preact/signals";
import { adaptBudget, Player } from "../engine";
import type { Store } from "../store";

const GLIDE = 340; // milliseconds
const NEAR = 3; // stops: further than this is a jump

export function runClock(store: Store): () => void {
  const player = new Player();
  const { s, shown } = store;
  let frame = 0;
  let from = shown.peek();
  let began = 0;
  let last = 0;
  let waits: number[] = []; // between frames, on the way to the next stop
  /** Fewer arrows from the next stop on where this machine was slow, more where it was quick; never on the way. */
  const pace = (time: number, now: number): void => {
    if (!Number.isInteger(time)) {
      if (last) waits.push(now - last);
    } else if (waits.length) {
      const usual = waits.sort((a, b) => a - b)[waits.length >> 1]!;
      store.budget.value = adaptBudget(Math.max(store.budget.peek(), 50), usual);
      waits = [];
    }
    last = now;
  };
  const tick = (now: number): void => {
    frame = 0;
    const stops = store.info.peek().stops.length;
    if (s.playing.peek()) {
      const time = player.tick(now, stops, store.still.peek());
      pace(time, now);
      s.stop.value = time;
      shown.value = time;
      if (!player.playing) s.playing.value = false;
      else again();
      return;
    }
    const share = Math.min(1, (now - began) / GLIDE);
    const to = s.stop.peek();
    shown.value = share < 1 ? from + (to - from) * (1 - (1 - share) ** 3) : to;
    if (share < 1) again();
  };
  const again = (): void => {
    frame ||= requestAnimationFrame(tick);
  };
  const stopPlaying = effect(() => {
    const playing = s.playing.value;
    untracked(() => {
      if (!playing) {
        player.pause();
        if (!Number.isInteger(s.stop.peek())) s.stop.value = store.at.peek(); // nothing rests between two stops
        return;
      }
      last = 0;
      player.play(s.stop.peek(), performance.now(), store.info.peek().stops.length);
      again();
    });
  });
  const stopGliding = effect(() => {
    const to = s.stop.value;
    const playing = s.playing.value;
    untracked(() => {
      if (playing || shown.peek() === to) return;
      if (store.still.peek() || Math.abs(shown.peek() - to) > NEAR) return void (shown.value = to);
      from = shown.peek();
      began = performance.now();
      again();
    });
  });
  return () => {
    cancelAnimationFrame(frame);
    stopPlaying();
    stopGliding();
  };
}
