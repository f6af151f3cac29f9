import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { RefObject } from "preact";

export type AnyRef = RefObject<HTMLDivElement> & RefObject<HTMLElement>;

/** An element's size inside its border, kept up to date. */
export function useSize(): [AnyRef, number, number] {
  const ref = useRef<HTMLElement>(null);
  const [size, set] = useState<[number, number]>([600, 400]);
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    const measure = (): void => {
      const [width, height] = [element.clientWidth, element.clientHeight];
      if (width > 0) set((now) => (now[0] === width && now[1] === height ? now : [width, height]));
    };
    measure();
    if (typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref as AnyRef, size[0], size[1]];
}

export function useWidth(): [AnyRef, number] {
  const [ref, width] = useSize();
  return [ref, width];
}
