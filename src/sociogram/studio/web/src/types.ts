/** The frame as the page holds it: see docs/frame.md. Arrays are flat, row-major; token ids are positions in the run. */

export type MeaningName = "message" | "attention" | "contribution" | "toward";
export type Kind = 0 | 1 | 2; // between different tokens | from the first token | to itself

export interface ArrayEntry {
  dtype: "f4" | "f2" | "u1" | "u2" | "u4";
  shape: number[];
  offset: number;
}

export interface Stop {
  layer: number;
  part: string;
}

export interface LayerInfo {
  status: "closed" | "opaque" | "unsupported";
  stop: number;
  before: number;
}

export interface ViewInfo {
  name: string;
  label: string;
  components: string[];
  variance: number[];
  null_variance: number[] | null;
  scale: number;
  fitted_without: number[];
  note: string | null;
}

export interface Measure {
  label: string;
  unit: string;
  all: (number | null)[];
  without_first: (number | null)[];
  null_low: (number | null)[];
  null_high: (number | null)[];
}

export interface Meaning {
  name: MeaningName;
  label: string;
  signed: boolean;
  token: string | null;
}

export interface Streamed {
  top: number;
  by: "message" | "attention";
}

export interface RunInfo {
  name: string;
  tokens: string[];
  prompt: number | null; // so many were read, those after them written by the model
  streamed: Streamed | null; // of the weights only each reader's strongest were kept
  stops: Stop[];
  layers: LayerInfo[];
  heads: number;
  causal: boolean;
  predictions: { token: string; probability: number }[];
  audit: { relative_error: number | null; null_drift: number | null; checked: number | null }; // checked: tokens, while recording
  views: ViewInfo[];
  measures: { names: string[]; [name: string]: Measure | string[] };
  meanings: Meaning[];
  words: { vocabulary: string[]; stops: number[]; tokens: number[] } | null;
  neighbours: number;
}

export interface Header {
  format: "sociogram-frame";
  version: 1;
  model: { name: string; d_model: number; logits: boolean };
  source: { model: string; text: string | null; sociogram: string };
  runs: RunInfo[];
  arrays: Record<string, ArrayEntry>;
}

export type Numbers = Float32Array | Uint8Array | Uint16Array | Uint32Array;

/** One recording, decoded. `array("edge/query")` gives the run's array, `f2` widened to Float32Array. */
export interface Run {
  info: RunInfo;
  array(name: string): Numbers;
  has(name: string): boolean;
}

export interface Frame {
  header: Header;
  runs: Run[];
}

/** Everything a person can set; the URL fragment holds exactly this. */
export interface State {
  run: number; // which recording is in front; the other one, if any, is drawn as ghosts when `ghosts`
  ghosts: boolean;
  stop: number; // index into stops; while playing it may lie between two (only the drawing interpolates)
  playing: boolean;
  view: string; // name of a view
  axes: [number, number, number]; // components drawn as x, y, depth
  camera: Camera;
  meaning: MeaningName;
  arrows: number; // how many arrows at most are drawn (1 to 3000)
  threshold: number; // and none smaller than this share (0 to 1) of the largest of the layer
  first: boolean; // show the first token and arrows from it
  itself: boolean; // show what tokens told themselves (as rings)
  heads: number[]; // only these heads of the layer (empty: all)
  layer: number | null; // hold the arrows to this layer; null: the layer of the stop
  token: number | null; // the token looked at (its path, its neighbours, only its edges)
  pins: number[]; // further tokens whose paths stay drawn
  words: boolean; // logit-lens words on the points
  panel: "flock" | "arcs" | "reach" | "table"; // which picture
  theme: "auto" | "light" | "dark";
  help: boolean;
}

export interface Camera {
  yaw: number; // radians
  pitch: number;
  zoom: number; // 1: all points fit
  x: number; // pan, in units of the view's half width
  y: number;
  follow?: boolean; // zoom 1 fits the tokens of this stop (default), or, if false, those of all stops together
}

/** An arrow chosen to be drawn: an index into the run's edges. */
export interface Selection {
  edges: Uint32Array; // strongest first
  largest: number; // the layer's largest size before the threshold
  shown: number; // sum of sizes of what is drawn
  total: number | null; // sum of sizes of all edges that the filters allow (see `counted`); null: not in the frame
  hidden: number; // how many edges the filters allow (see `counted`), but are not drawn
  counted: "all" | "shipped"; // whether `total` and `hidden` count every edge, or only those in the frame (then both are lower bounds)
  layer: number | null; // the layer the edges are of; null: this stop shows none
  heard: { shown: number; total: number } | null; // with a token and all heads: what is drawn of all that it heard
}

/** What a renderer is told for each picture. Everything else it has from `setRun`. */
export interface Scene {
  time: number; // the stop, possibly between two
  view: ViewInfo;
  axes: [number, number, number];
  camera: Camera;
  selection: Selection;
  meaning: MeaningName;
  first: boolean;
  itself: boolean;
  token: number | null;
  hover: number | null;
  pins: number[];
  ghosts: boolean;
  labels: Label[]; // texts on points, already chosen so that they do not pile up
  colours: Palette;
  wakes?: boolean; // each token's move to this stop as a faint tail (default: true)
  compass?: boolean; // the drawn components and a ruler in a corner (default: true)
  insets?: Insets; // room at the edges that other things cover: points are fitted inside
}

export interface Insets {
  top: number;
  right: number;
  bottom: number;
  left: number;
}

export interface Label {
  token: number;
  text: string;
  opacity: number;
  strong: boolean;
  side?: "right" | "left" | "above" | "below"; // where the text stands from its point (default: right)
  word?: string; // what the logit lens reads there, drawn as "→ word" behind the text
  wordOpacity?: number; // and how visible: the fainter the less sure
}

export interface Palette {
  background: string;
  ink: string;
  faint: string;
  point: string;
  chosen: string;
  ghost: string;
  attract: string; // pull = +1
  neutral: string; // pull = 0 or unknown
  repel: string; // pull = -1
}

export interface Renderer {
  kind: "webgl2" | "svg";
  /** JavaScript time of the last `draw`, in milliseconds. */
  readonly lastFrameMs: number;
  setRun(front: Run, other: Run | null): void;
  resize(width: number, height: number, ratio: number): void;
  draw(scene: Scene): void;
  /** The token nearest to a place on the picture (CSS pixels), within `reach` pixels, or null. */
  pick(x: number, y: number, reach: number): number | null;
  /** Where a token is drawn, in CSS pixels. */
  place(token: number): [number, number] | null;
  dispose(): void;
}
