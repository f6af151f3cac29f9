import { useState } from "preact/hooks";

const mine = Math.random().toString(36).slice(2, 8); // several copies of this bundle may share one page
let last = 0;

/** An id that no other element on the page has. (Preact's own repeats between roots.) */
export function useId(): string {
  return useState(() => `sg-${mine}-${++last}`)[0];
}
