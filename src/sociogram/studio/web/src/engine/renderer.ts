/** Chooses how the picture is drawn, and says why if not in the best way. */

import type { Renderer } from "../types";
import { SVG_ARROWS, SvgRenderer } from "./svg";
import { WebGLRenderer } from "./webgl";

export type Prefer = "auto" | "webgl2" | "svg";

export interface Drawing {
  renderer: Renderer;
  reason: string | null; // to be shown on screen: why this is not WebGL2; null where it is, or where SVG was asked for
  mostArrows: number; // no more than these are drawn at once
}

/** `host` is an element with a position of its own (relative or absolute) that the renderer fills. `onLost`: see WebGLRenderer. */
export function createRenderer(host: HTMLElement, prefer: Prefer = "auto", onLost: ((lost: boolean) => void) | null = null): Drawing {
  let reason: string | null = null;
  if (prefer !== "svg") {
    const before = new Set(host.childNodes);
    try {
      const renderer = new WebGLRenderer(host);
      renderer.onLost = onLost;
      return { renderer, reason: null, mostArrows: 3000 };
    } catch (cause) {
      for (const node of [...host.childNodes]) if (!before.has(node)) node.remove();
      const why = cause instanceof Error ? cause.message.split("\n")[0]! : String(cause);
      reason = `${why}: drawn as SVG, up to ${SVG_ARROWS} arrows.`;
    }
  }
  return { renderer: new SvgRenderer(host), reason, mostArrows: SVG_ARROWS };
}
