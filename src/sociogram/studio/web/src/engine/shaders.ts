/** The shaders. Lengths are CSS pixels; the numbers come from look.ts, the shapes are those of geometry.ts. */

import { BEND, BEND_MOST, CLEAR, CROWD, DEPTH_FADE, DEPTH_SIZE, DOT, DOTS_ON, DOTS_PERIOD, FADE, FAN, HAIR, HALO, idleSize, PATH, RING_GAP, RING_STEP, TAIL, THREAD, TRIM_FROM, TRIM_TO, WAKE as WAKE_WIDTH } from "./look";
import { CHOSEN, FIRST, HOVERED, IDLE, PINNED } from "./stage";

/** Texels in a row of the tables of places and edges. */
export const ROW = 2048;

const f = (value: number): string => (Number.isInteger(value) ? `${value}.0` : String(value));

const SHARED = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
layout(std140) uniform Frame {
  vec4 rowX; vec4 rowY; vec4 rowZ;
  vec4 clock;   // stop, share of the way to the next, arrows grown, arrows left
  vec4 size;    // width, height, pixel ratio, tokens
  vec4 other;   // where the other run's places begin, its tokens, its stops, whether it has as many tokens
  vec4 look;    // radius of points, widest arrow, casing, number of arrows
  vec4 more;    // largest size, time, stops, the stop before
  vec4 extra;   // segments of an arrow, the token looked at (-1: none)
  vec4 background; vec4 ink; vec4 point; vec4 chosen; vec4 ghost; vec4 attract; vec4 neutral; vec4 repel;
};
`;

export const FRAME_FLOATS = 17 * 4;

const PLACES = `${SHARED}
uniform sampler2D places;
vec3 lens(vec3 p) { vec4 q = vec4(p, 1.0); return vec3(dot(rowX, q), dot(rowY, q), dot(rowZ, q)); }
vec3 stored(int index) { return texelFetch(places, ivec2(index % ${ROW}, index / ${ROW}), 0).xyz; }
vec3 atStop(int stop, int token) { return lens(stored(stop * int(size.w) + token)); }
vec3 here(int token) {
  int at = int(clock.x) * int(size.w) + token;
  vec3 a = stored(at);
  return lens(clock.y > 0.0 ? mix(a, stored(at + int(size.w)), clock.y) : a);
}
bool nowhere(vec3 p) { return !(abs(p.x) < 1e6 && abs(p.y) < 1e6); }
vec4 clip(vec2 p) { return vec4(2.0 * p.x / size.x - 1.0, 1.0 - 2.0 * p.y / size.y, 0.0, 1.0); }
const vec4 AWAY = vec4(2.0, 2.0, 2.0, 1.0);
float bigger(float depth) { return 1.0 + ${f(DEPTH_SIZE)} * clamp(depth, -1.0, 1.0); }
float paler(float depth) { return 1.0 - ${f(DEPTH_FADE)} * (0.5 - 0.5 * clamp(depth, -1.0, 1.0)); }
vec2 corner(uint given) {
  int which = given > 0u ? int(given) - 1 : gl_VertexID; // of a crowd the corner is given, else it is the vertex's number
  return vec2(float(which & 1) * 2.0 - 1.0, float(which >> 1) * 2.0 - 1.0);
}
vec2 corner() { return corner(0u); }
`;

const PAINT = `${SHARED}
out vec4 colour;
float cover(float inside) { return clamp(inside * size.z + 0.5, 0.0, 1.0); } // by distance inside an outline
vec4 tint(vec3 rgb, float alpha) { return vec4(rgb * alpha, alpha); }
vec4 over(vec4 top, vec4 below) { return top + below * (1.0 - top.a); }
`;

const EDGE = `
layout(location = 0) in uvec2 item; // edge, how many lie between the same two already
uniform sampler2D edges;
uniform sampler2D sizes;
vec4 edge() { return texelFetch(edges, ivec2(int(item.x) % ${ROW}, int(item.x) / ${ROW}), 0); }
float share() {
  float s = texelFetch(sizes, ivec2(int(item.x) % ${ROW}, int(item.x) / ${ROW}), 0).r;
  return more.x > 0.0 ? clamp(s / more.x, 0.0, 1.0) : 0.0;
}
float widthOf(float share) { return ${f(HAIR)} + (look.y - ${f(HAIR)}) * share; }
float opacityOf(float share) {
  float crowd = clamp(log(max(1.0, look.w) / 60.0) / log(10.0) / 1.7, 0.0, 1.0);
  return (1.0 - 0.45 * crowd) * (0.58 + 0.42 * sqrt(share)) * 0.96;
}
`;

export const ARROW: [string, string] = [
  `${PLACES}${EDGE}
out vec2 across; // distance from the middle, half width there
out vec4 paint;
out float gone; // share of the way from the sender to the reader
void main() {
  vec4 e = edge();
  vec3 A = here(int(e.y));
  vec3 B = here(int(e.x));
  if (nowhere(A) || nowhere(B)) { gl_Position = AWAY; return; }
  float rel = share();
  float width = widthOf(rel);
  float rimFrom = look.x * bigger(A.z) + (e.y == extra.y ? ${f(CLEAR)} : 0.0);
  float rimTo = look.x * bigger(B.z) + (e.x == extra.y ? ${f(CLEAR)} : 0.0);
  vec2 d = B.xy - A.xy;
  float apart = max(length(d), 1e-3);
  float bend = (min(${f(BEND)} * apart, ${f(BEND_MOST)}) + min(3.0, 0.2 * apart)) * (1.0 + ${f(FAN)} * float(item.y)) * 2.0;
  vec2 C = (A.xy + B.xy) * 0.5 + vec2(d.y, -d.x) / apart * bend;
  float far = (apart + length(C - A.xy) + length(B.xy - C)) * 0.5;
  float from = min((rimFrom + ${f(TRIM_FROM)}) / far, 0.3);
  float end = 1.0 - min((rimTo + ${f(TRIM_TO)}) / far, 0.3);
  float to = from + (end - from) * clock.z;
  float headLong = min(4.0 + 1.9 * width, 0.42 * (to - from) * far);
  float neck = to - headLong / far;
  float body = width * 0.5;
  float head = max(body + 0.9, headLong * 0.46);
  int pair = gl_VertexID >> 1;
  float side = float(gl_VertexID & 1) * 2.0 - 1.0;
  int n = int(extra.x);
  float t = to;
  float wide = 0.0;
  if (pair <= n) { float g = float(pair) / float(n); t = mix(from, neck, g); wide = mix(min(body, max(${f(THREAD)}, body * ${f(TAIL)})), body, g); }
  else if (pair == n + 1) { t = neck; wide = head; }
  vec2 P = mix(mix(A.xy, C, t), mix(C, B.xy, t), t);
  vec2 tangent = mix(C - A.xy, B.xy - C, t);
  tangent /= max(length(tangent), 1e-6);
  float pad = look.z + 1.0 / size.z;
  float out_ = side * (wide + pad);
  P += vec2(-tangent.y, tangent.x) * out_;
  if (pair > n + 1) P += tangent * pad;
  across = vec2(out_, wide);
  gone = dot(P - A.xy, d) / (apart * apart);
  float lean = e.z == e.z ? sign(e.z) * sqrt(min(1.0, abs(e.z))) : 0.0;
  paint = vec4(mix(neutral.rgb, lean < 0.0 ? repel.rgb : attract.rgb, abs(lean)), opacityOf(rel) * clock.w * paler((A.z + B.z) * 0.5));
  gl_Position = clip(P);
}`,
  `${PAINT}
in vec2 across;
in vec4 paint;
in float gone;
void main() {
  float away = abs(across.x);
  float fade = mix(${f(FADE)}, 1.0, clamp((gone - 0.05) / 0.75, 0.0, 1.0));
  vec4 body = tint(paint.rgb, cover(across.y - away) * paint.a * fade);
  vec4 case_ = look.z > 0.0 ? tint(background.rgb, cover(across.y + look.z - away) * 0.55 * clock.w) : vec4(0.0);
  colour = over(body, case_);
}`,
];

export const RING: [string, string] = [
  `${PLACES}${EDGE}
out vec2 at;
out vec3 ring; // radius, half width, opacity
void main() {
  vec3 P = here(int(edge().x));
  if (nowhere(P)) { gl_Position = AWAY; return; }
  float rel = share();
  ring = vec3(look.x * bigger(P.z) + ${f(RING_GAP)} + ${f(RING_STEP)} * float(item.y), widthOf(rel) * 0.3, opacityOf(rel) * clock.z * clock.w);
  at = corner() * (ring.x + ring.y + 1.5);
  gl_Position = clip(P.xy + at);
}`,
  `${PAINT}
in vec2 at;
in vec3 ring;
void main() { colour = tint(neutral.rgb, cover(ring.y - abs(length(at) - ring.x)) * ring.z); }`,
];

export const POINT: [string, string] = [
  `${PLACES}
layout(location = 0) in uvec2 item; // token, its part
out vec2 at;
out float radius;
out float opacity;
flat out uint part;
void main() {
  vec3 P = here(int(item.x));
  if (nowhere(P)) { gl_Position = AWAY; return; }
  part = item.y & 255u;
  bool idle = (part & ${IDLE}u) != 0u;
  radius = look.x * bigger(P.z) * ((part & ${CHOSEN}u) != 0u ? 1.25 : idle ? size.w > ${f(CROWD)} ? ${f(idleSize(Infinity))} : ${f(idleSize(1))} : 1.0);
  opacity = (part & ${CHOSEN}u) != 0u ? 1.0 : paler(P.z) * (idle ? 0.5 : 1.0);
  at = corner(item.y >> 8) * (radius * 1.35 + ((part & ${CHOSEN | PINNED | HOVERED}u) != 0u ? 9.0 : 3.0));
  gl_Position = clip(P.xy + at);
}`,
  `${PAINT}
in vec2 at;
in float radius;
in float opacity;
flat in uint part;
vec4 ring(vec3 rgb, float away, float width) { return tint(rgb, cover(width * 0.5 - abs(length(at) - radius - away))); }
void main() {
  float d = length(at);
  bool isChosen = (part & ${CHOSEN}u) != 0u;
  vec3 rgb = isChosen ? chosen.rgb : point.rgb;
  if ((part & ${FIRST}u) != 0u && size.w > 1.5) {
    float inside = (radius * 1.3 - abs(at.x) - abs(at.y)) * 0.70711;
    colour = over(tint(rgb, cover(0.85 - abs(inside)) * opacity), tint(background.rgb, cover(inside)));
  } else {
    colour = over(tint(rgb, cover(radius - d) * opacity), tint(background.rgb, cover(radius + ((part & ${IDLE}u) != 0u ? 0.6 : ${f(HALO)}) - d) * 0.92));
  }
  if (isChosen) colour = over(ring(chosen.rgb, 3.6, 1.8), colour);
  else if ((part & ${PINNED}u) != 0u) colour = over(ring(ink.rgb, 3.2, 1.2), colour);
  if ((part & ${HOVERED}u) != 0u) colour = over(ring(ink.rgb, 6.4, 1.4), colour);
}`,
];

/** How each token came here from the stop before. */
export const WAKE: [string, string] = [
  `${PLACES}
layout(location = 0) in uvec2 item;
out vec2 across;
out float gone;
out float opacity;
void main() {
  float every = ceil(size.w / ${f(CROWD)});
  bool idle = (item.y & ${IDLE}u) != 0u;
  if ((item.y & ${CHOSEN | PINNED}u) != 0u || more.w < 0.0 || idle && mod(float(item.x), every) > 0.5) { gl_Position = AWAY; return; }
  vec3 A = atStop(int(more.w), int(item.x));
  vec3 B = here(int(item.x));
  vec2 d = B.xy - A.xy;
  float far = length(d);
  if (nowhere(A) || nowhere(B) || far < 1.0) { gl_Position = AWAY; return; }
  vec2 c = corner(item.y >> 8);
  float end = c.x * 0.5 + 0.5;
  float wide = end * look.x * bigger(B.z) * ${f(WAKE_WIDTH)};
  vec2 n = vec2(-d.y, d.x) / far;
  float pad = 1.0 / size.z;
  across = vec2(c.y * (wide + pad), wide);
  gone = end;
  opacity = paler(B.z) * (idle ? 0.5 : 1.0) * min(1.0, sqrt(300.0 * every / size.w));
  gl_Position = clip(mix(A.xy, B.xy, end) + n * across.x);
}`,
  `${PAINT}
in vec2 across;
in float gone;
in float opacity;
void main() { colour = tint(point.rgb, cover(across.y - abs(across.x)) * opacity * (0.06 + 0.3 * gone * gone)); }`,
];

const OTHER = `${PLACES}
vec3 there(int token) {
  int tokens = int(other.y);
  int last = int(other.z) - 1;
  int s = min(int(clock.x), last);
  int base = int(other.x);
  vec3 a = stored(base + s * tokens + token);
  return lens(clock.y > 0.0 && s < last ? mix(a, stored(base + (s + 1) * tokens + token), clock.y) : a);
}
uniform int skip; // tokens left out at the beginning
`;

export const GHOST: [string, string] = [
  `${OTHER}
out vec2 at;
void main() {
  vec3 P = there(gl_InstanceID + skip);
  if (nowhere(P)) { gl_Position = AWAY; return; }
  at = corner() * (look.x * 0.9 + 2.5);
  gl_Position = clip(P.xy + at);
}`,
  `${PAINT}
in vec2 at;
void main() { colour = tint(ghost.rgb, cover(0.7 - abs(length(at) - look.x * 0.9))); }`,
];

export const LINK: [string, string] = [
  `${OTHER}
out float across;
void main() {
  vec3 A = there(gl_InstanceID + skip);
  vec3 B = here(gl_InstanceID + skip);
  vec2 d = B.xy - A.xy;
  float far = length(d);
  if (nowhere(A) || nowhere(B) || far < 1.0) { gl_Position = AWAY; return; }
  vec2 c = corner();
  across = c.y * 1.5;
  gl_Position = clip(mix(A.xy, B.xy, c.x * 0.5 + 0.5) + vec2(-d.y, d.x) / far * across);
}`,
  `${PAINT}
in float across;
void main() { colour = tint(ghost.rgb, cover(0.5 - abs(across)) * 0.28); }`,
];

const STEP = `
layout(location = 0) in uvec4 item; // token, style, stop, shape
`;

export const PATHS: [string, string] = [
  `${PLACES}${STEP}
out vec2 at; // along, across
flat out vec4 step_; // length, stop, style
void main() {
  int s = int(item.z);
  if (s + 1 >= int(more.z)) { gl_Position = AWAY; return; }
  vec3 A = atStop(s, int(item.x));
  vec3 B = atStop(s + 1, int(item.x));
  vec2 d = B.xy - A.xy;
  float far = length(d);
  if (nowhere(A) || nowhere(B) || far < 1e-3) { gl_Position = AWAY; return; }
  vec2 c = corner();
  at = vec2((c.x * 0.5 + 0.5) * far, c.y * (${f(PATH / 2)} + 1.5));
  step_ = vec4(far, float(s), float(item.y), 0.0);
  gl_Position = clip(A.xy + d / far * at.x + vec2(-d.y, d.x) / far * at.y);
}`,
  `${PAINT}
in vec2 at;
flat in vec4 step_;
void main() {
  float strength = step_.z < 0.5 ? 1.0 : 0.7;
  vec3 rgb = step_.z < 0.5 ? chosen.rgb : ink.rgb;
  float now = clamp(more.y - step_.y, 0.0, 1.0) * step_.x;
  float away = abs(at.y);
  if (at.x <= now) {
    float age = more.y > 0.0 ? clamp((step_.y + at.x / step_.x) / more.y, 0.0, 1.0) : 1.0;
    colour = tint(rgb, cover(${f(PATH / 2)} * (0.45 + 0.55 * age) - away) * strength * (0.22 + 0.68 * age));
  } else {
    float phase = mod(at.x - now, ${f(DOTS_PERIOD)});
    colour = tint(rgb, cover(0.6 - away) * cover(min(phase, ${f(DOTS_ON)} - phase)) * strength * 0.5);
  }
}`,
];

export const DOTS: [string, string] = [
  `${PLACES}${STEP}
out vec2 at;
flat out vec4 dot_; // radius, style, shape, opacity
void main() {
  int s = int(item.z);
  int token = int(item.x);
  vec3 P = atStop(s, token);
  if (nowhere(P)) { gl_Position = AWAY; return; }
  float apart = 99.0;
  if (s > 0) apart = min(apart, length(atStop(s - 1, token).xy - P.xy));
  if (s + 1 < int(more.z)) apart = min(apart, length(atStop(s + 1, token).xy - P.xy));
  float past = float(s) <= more.y + 1e-4 ? 1.0 : 0.45;
  dot_ = vec4(clamp(0.32 * apart, 0.7, ${f(DOT)}), float(item.y), float(item.w), past * (item.y == 0u ? 1.0 : 0.7));
  at = corner() * (dot_.x * 1.4 + 2.5);
  gl_Position = clip(P.xy + at);
}`,
  `${PAINT}
in vec2 at;
flat in vec4 dot_;
void main() {
  vec3 rgb = dot_.y < 0.5 ? chosen.rgb : ink.rgb;
  float r = dot_.x;
  int shape = int(dot_.z + 0.5);
  if (shape == 1) colour = tint(rgb, cover(0.9 * r - max(abs(at.x), abs(at.y))) * dot_.w);
  else if (shape == 2) colour = over(tint(rgb, cover(0.65 - abs(length(at) - r - 0.6)) * dot_.w), tint(background.rgb, cover(r + 0.6 - length(at))));
  else if (shape == 3) colour = tint(rgb, cover((1.35 * r - abs(at.x) - abs(at.y)) * 0.70711) * dot_.w);
  else colour = tint(rgb, cover(r - length(at)) * dot_.w);
}`,
];
