import { Component, createElement, type ComponentType, type FunctionComponent, type VNode } from "preact";

/** Drawn again only when a property changes (signals read inside still do their part). */
export function memo<P extends object>(inner: FunctionComponent<P>): ComponentType<P> {
  class Memo extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      const [a, b] = [this.props as Record<string, unknown>, next as Record<string, unknown>];
      return Object.keys({ ...a, ...b }).some((key) => a[key] !== b[key]);
    }
    override render(): VNode {
      return createElement(inner as FunctionComponent<object>, this.props);
    }
  }
  return Memo as unknown as ComponentType<P>;
}
