import type { ComponentChildren, JSX } from "preact";

function Icon({ children }: { children: ComponentChildren }): JSX.Element {
  return (
    <svg viewBox="0 0 16 16" aria-hidden="true">
      {children}
    </svg>
  );
}

export const Play = (): JSX.Element => <Icon><path d="M5 3l8 5-8 5z" fill="currentColor" /></Icon>; // prettier-ignore
export const Pause = (): JSX.Element => <Icon><path d="M5 3v10M11 3v10" stroke-width="2.6" /></Icon>; // prettier-ignore
export const Sun = (): JSX.Element => <Icon><circle cx="8" cy="8" r="3" /><path d="M8 1v2M8 13v2M1 8h2M13 8h2M3 3l1.4 1.4M11.6 11.6L13 13M13 3l-1.4 1.4M4.4 11.6L3 13" /></Icon>; // prettier-ignore
export const Moon = (): JSX.Element => <Icon><path d="M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z" /></Icon>; // prettier-ignore
export const Half = (): JSX.Element => <Icon><circle cx="8" cy="8" r="6" /><path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor" /></Icon>; // prettier-ignore
export const Code = (): JSX.Element => <Icon><path d="M5 4L1.5 8 5 12M11 4l3.5 4L11 12" /></Icon>; // prettier-ignore
export const Save = (): JSX.Element => <Icon><path d="M8 2v8M4.5 7L8 10.5 11.5 7M2.5 13.5h11" /></Icon>; // prettier-ignore
export const Home = (): JSX.Element => <Icon><path d="M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10" /></Icon>; // prettier-ignore
export const Journey = (): JSX.Element => <Icon><path d="M3 12.500c1-5 4 0 5-4s2-5 4.500-5" /><circle cx="3" cy="12.700" r="1.300" /><circle cx="13" cy="3.500" r="1.300" fill="currentColor" /></Icon>; // prettier-ignore
export const Pin = (): JSX.Element => <Icon><path d="M8 10v4M5 2h6M6 2v4L4 9.5h8L10 6V2" /></Icon>; // prettier-ignore
export const Back = (): JSX.Element => <Icon><path d="M10 3L5 8l5 5" /></Icon>; // prettier-ignore
export const On = (): JSX.Element => <Icon><path d="M6 3l5 5-5 5" /></Icon>; // prettier-ignore
export const Close = (): JSX.Element => <Icon><path d="M4 4l8 8M12 4l-8 8" /></Icon>; // prettier-ignore

/** Four tokens and what one tells another. */
export const Mark = (): JSX.Element => (
  <svg viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round">
    <path d="M4.5 16C7 8 13 5.500 18.500 7" opacity=".85" />
    <path d="M10 19.500c2.500-1 5.500-4 8-11" opacity=".45" />
    <circle cx="4.500" cy="17.500" r="2" fill="currentColor" stroke="none" />
    <circle cx="10" cy="19.800" r="1.600" fill="currentColor" stroke="none" opacity=".6" />
    <circle cx="12" cy="11.800" r="1.600" fill="currentColor" stroke="none" opacity=".6" />
    <circle cx="19" cy="7" r="2.900" fill="currentColor" stroke="none" />
  </svg>
);
