/** Mouse and fingers on the picture: turn, pan, zoom, point, choose. */
import { orbitBy, panBy, zoomAt } from "../engine";
import type { Camera, Renderer } from "../types";
import type { Store } from "../store";
import { home } from "./actions";

const SLOP = 5; // pixels: less is a click

/** `free`: the wheel zooms without being asked twice (a page of its own; in a notebook the picture must have the focus). */
export function listen(host: HTMLElement, store: Store, renderer: () => Renderer | null, free: () => boolean): () => void {
  const fingers = new Map<number, { x: number; y: number }>();
  const { s, hover } = store;
  let travelled = 0;
  let clicked = { at: 0, x: 0, y: 0 };
  const place = (event: { clientX: number; clientY: number }): { x: number; y: number } => {
    const box = host.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const look = (camera: Camera): void => void (s.camera.value = camera);
  const down = (event: PointerEvent): void => {
    if (event.button > 0) return;
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 1) travelled = 0;
  };
  const move = (event: PointerEvent): void => {
    const to = place(event);
    const from = fingers.get(event.pointerId);
    if (!from) {
      if (event.pointerType !== "touch") hover.value = renderer()?.pick(to.x, to.y, 10) ?? null;
      return;
    }
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    travelled += Math.hypot(dx, dy);
    if (travelled < SLOP) return;
    if (!host.hasPointerCapture?.(event.pointerId)) host.setPointerCapture?.(event.pointerId);
    hover.value = null;
    const camera = s.camera.peek();
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const factor = Math.hypot(to.x - other.x, to.y - other.y) / Math.max(1, Math.hypot(from.x - other.x, from.y - other.y));
      const zoomed = zoomAt(camera, factor, (to.x + other.x) / 2, (to.y + other.y) / 2, host.clientWidth, host.clientHeight);
      look(panBy(zoomed, dx / 2, dy / 2, host.clientWidth));
    } else look(event.shiftKey || event.buttons === 4 ? panBy(camera, dx, dy, host.clientWidth) : orbitBy(camera, dx, dy));
    fingers.set(event.pointerId, to);
  };
  const up = (event: PointerEvent): void => {
    const from = fingers.get(event.pointerId);
    fingers.delete(event.pointerId);
    if (!from || travelled >= SLOP || event.type === "pointercancel") return;
    const twice = event.timeStamp - clicked.at < 350 && Math.hypot(from.x - clicked.x, from.y - clicked.y) < 8;
    clicked = { at: event.timeStamp, ...from };
    const token = renderer()?.pick(from.x, from.y, event.pointerType === "touch" ? 24 : 10) ?? null;
    if (token === null) {
      if (twice) look(home(s.camera.peek()));
      else store.choose(null);
    } else if (event.ctrlKey || event.metaKey || event.shiftKey) store.pin(token);
    else store.choose(token);
  };
  const leave = (): void => void (fingers.size === 0 && (hover.value = null));
  const wheel = (event: WheelEvent): void => {
    if (!free() && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const { x, y } = place(event);
    const lines = event.deltaMode === 1 ? 18 : 1;
    look(zoomAt(s.camera.peek(), Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) * (event.ctrlKey ? 0.008 : 0.0016)), x, y, host.clientWidth, host.clientHeight));
  };
  const on: [string, (event: never) => void][] = [
    ["pointerdown", down], ["pointermove", move], ["pointerup", up], ["pointercancel", up], ["pointerleave", leave],
  ]; // prettier-ignore
  for (const [name, what] of on) host.addEventListener(name, what as EventListener);
  host.addEventListener("wheel", wheel, { passive: false });
  return () => {
    for (const [name, what] of on) host.removeEventListener(name, what as EventListener);
    host.removeEventListener("wheel", wheel);
  };
}
