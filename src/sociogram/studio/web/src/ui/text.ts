/** Tokens and numbers as people read them. Everything here makes text, never markup. */

const NAMED: Record<string, string> = { "\n": "⏎", "\t": "⇥", "\r": "␍", "\u00a0": "⍽" };

/** Characters that would be invisible or turn their surroundings around: controls, joiners out of place, bidi overrides. */
const ODD = /[\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Cs}/gu;

/** A token with nothing invisible in it. Spaces stay spaces (shown with `white-space: pre`). */
export function visible(token: string): string {
  if (token === "") return "∅";
  return token.replace(ODD, (letter) => NAMED[letter] ?? `⟨${letter.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** A token where its spaces would be lost: they are drawn. */
export function spaced(token: string): string {
  return visible(token).replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length));
}

/** A token without the spaces around it (drawn or not) and without the marks of pieces, unless there is nothing else to it. */
export function plain(token: string): string {
  const shown = visible(token);
  return shown.replace(/^[\s␣]+|[\s␣]+$/g, "").replace(/^##(?=\w)/, "") || shown.replace(/ /g, "␣");
}

/** Which tokens go on with the word of the one before, by whatever marks this tokenizer leaves; none where it leaves none. */
export function joins(tokens: readonly string[]): boolean[] {
  const blank = /^[\s␣↵⏎⇥]/;
  const special = /^<.*>$|^\[[A-Z]+\]$/s;
  const leading = tokens.some((token) => /^[ ␣]\S/.test(token));
  const trailing = !leading && tokens.some((token) => /\S␣$/.test(token));
  const pieces = !leading && !trailing && tokens.some((token) => /^##\w/.test(token));
  return tokens.map((token, i) => {
    const before = tokens[i - 1];
    if (before === undefined || special.test(before) || special.test(token)) return false;
    if (blank.test(before.slice(-1)) || blank.test(token)) return false;
    return pieces ? token.startsWith("##") : leading || trailing;
  });
}

/** A token within a sentence. */
export function quoted(token: string): string {
  return `‘${plain(token)}’`;
}

/** Cut to `most` letters (not code units), with an ellipsis. */
export function short(text: string, most: number): string {
  const letters = [...text];
  return letters.length <= most ? text : `${letters.slice(0, most - 1).join("")}…`;
}

/** Three digits that matter: 1234, 14.2, 0.318, 6.1e-5. */
export function num(value: number | null | undefined): string {
  if (value == null || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(Number(value.toPrecision(3))); // 9.998 is written as 10.0, not as 10.00
  let text: string;
  if (size === 0) text = "0";
  else if (size < 0.001 || size >= 1e6) text = value.toExponential(1).replace("e+", "e");
  else if (size >= 100) text = Math.round(value).toLocaleString("en");
  else text = value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3);
  return text.replace(/-/g, "−");
}

export function signed(value: number | null | undefined): string {
  const text = num(value);
  return value != null && value > 0 && Number.isFinite(value) ? `+${text}` : text;
}

/** A share (0 to 1) in per cent, never rounded up to 100 or down to 0. */
export function percent(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return "–";
  const hundredths = value * 100;
  if (value > 0 && hundredths < 0.1) return "<0.1\u202f%";
  if (value < 1 && hundredths > 99.9) return ">99.9\u202f%";
  const digits = Math.abs(hundredths) < 10 && hundredths !== 0 ? 1 : 0;
  const text = hundredths.toFixed(digits);
  return `${value < 1 && text === "100" ? "99.9" : text}\u202f%`;
}

export function count(value: number): string {
  return Math.round(value).toLocaleString("en");
}

/** `1 arrow`, `2 arrows`. */
export function many(value: number, one: string, more = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : more}`;
}
