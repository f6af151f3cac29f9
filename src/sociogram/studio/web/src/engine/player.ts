/** The clock: time moves from stop to stop and rests at each, so that stops are seen and nothing is implied between them. */

export const MOVE = 620; // milliseconds from one stop to the next at speed 1
export const REST = 480; // and at each

const ease = (x: number): number => (x < 0.5 ? 4 * x * x * x : 1 - (2 - 2 * x) ** 3 / 2);

/**
 * The time after `elapsed` milliseconds of playing from `start`. With `reduced` motion it jumps from stop to stop.
 * A start between two stops is finished first; the last of the `stops` is not left.
 */
export function timeAt(start: number, elapsed: number, speed: number, stops: number, reduced: boolean): number {
  const last = Math.max(0, stops - 1);
  const from = Math.min(last, Math.max(0, start));
  let left = Math.max(0, elapsed) * Math.max(0, speed);
  let stop = Math.floor(from);
  const share = from - stop;
  if (reduced) return Math.min(last, (share > 0 ? stop + 1 : stop) + Math.floor(left / (MOVE + REST)));
  if (share > 0) {
    const first = (1 - share) * MOVE;
    if (left < first) return share + stop + (1 - share) * ease(left / first);
    left -= first;
    stop += 1;
    if (left < REST) return stop;
    left -= REST;
  }
  const whole = Math.floor(left / (MOVE + REST));
  stop += whole;
  if (stop >= last) return last;
  left -= whole * (MOVE + REST);
  return left >= MOVE ? stop + 1 : stop + ease(left / MOVE);
}

/** Whether playing is over: the last stop is reached. */
export function isDone(time: number, stops: number): boolean {
  return time >= stops - 1;
}

export const LEAST_ARROWS = 50;
export const MOST_ARROWS = 3000;

/** How many arrows may be drawn from now on, given how long a frame took: fewer when it was slow, more when it was quick. */
export function adaptBudget(current: number, frameMs: number): number {
  if (!(frameMs >= 0)) return current;
  const next = frameMs > 48 ? Math.floor(current * Math.max(0.5, 40 / frameMs)) : frameMs < 20 ? Math.ceil(current * 1.12) : current;
  return Math.min(MOST_ARROWS, Math.max(LEAST_ARROWS, next));
}

/** Holds where playing began. The page calls `tick` once per animation frame and shows what it returns. */
export class Player {
  playing = false;
  private start = 0;
  private began = 0;
  private rate = 1;

  /** Begins at a time (at the last stop: from the beginning). `now` is a clock in milliseconds. */
  play(from: number, now: number, stops: number): void {
    this.start = isDone(from, stops) ? 0 : from;
    this.began = now;
    this.playing = true;
  }

  pause(): void {
    this.playing = false;
  }

  /** Another speed, without a jump. */
  setSpeed(speed: number, now: number, stops: number, reduced: boolean): void {
    if (this.playing) {
      this.start = timeAt(this.start, now - this.began, this.rate, stops, reduced);
      this.began = now;
    }
    this.rate = speed;
  }

  get speed(): number {
    return this.rate;
  }

  /** The time now; stops playing at the last stop. */
  tick(now: number, stops: number, reduced: boolean): number {
    const time = timeAt(this.start, now - this.began, this.rate, stops, reduced);
    if (isDone(time, stops)) this.playing = false;
    return time;
  }
}
