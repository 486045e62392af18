/**
 * The machine code of the body scanner: WebAssembly with vectors of 16 bytes, put together here when the process starts.
 *
 * It exports `scan(at, to, tooLongAt, maxLineBytes, lineEnds, nuls)` and imports its memory. It passes over the
 * bytes from `at` to `to`, in memory where they lie, and returns the address of the first one that needs a closer look, or
 * `to`:
 *
 * - a byte that is LF where the one before is no CR, or is no LF where it is CR (when `lineEnds` is -1, not 0),
 * - a NUL (when `nuls` is -1, not 0),
 * - the byte at `tooLongAt`, when no LF stands between `at` and it; later any byte with more than `maxLineBytes`, at least
 *   64, from the byte behind the last LF to itself,
 * - a CR or LF with LF and a dot before it: what may be the end of the body, here or for a lenient server.
 *
 * The two bytes in front of `at` are read too: they are those that came before. The address behind the last LF that it
 * has passed over (0: none) is left at LINE_AT. Numbers of instructions: https://webassembly.github.io/spec/core/appendix/index-instructions.html
 */

/** where `scan` leaves its second result, a little endian i32 */
export const LINE_AT = 0;
/** bytes in front of any scanned place that belong to the scanner: LINE_AT in the first page, and the two bytes before */
export const HEAD_BYTES = 64;
export const PAGE_BYTES = 64 * 1024;

const CR = 13;
const LF = 10;
const DOT = 46;
/** bytes of one turn of the fast loop: four vectors, so that their 64 LF bits are one i64 */
const STRIDE = 64;

type Code = readonly number[];

// What follows gives each instruction its operands as arguments, so that the program below reads from the inside out.
const op =
  (...opcode: readonly number[]) =>
  (...operands: readonly Code[]): Code => [...operands.flat(), ...opcode];
const SIMD = 0xfd;
const i32 = { ne: op(0x47), lt: op(0x49), ge: op(0x4f), add: op(0x6a), sub: op(0x6b), or: op(0x72), shl: op(0x74) };
const i32and = op(0x71);
const i32eq = op(0x46);
const i64 = {
  isZero: op(0x50),
  or: op(0x84),
  shl: op(0x86),
  clz: op(0x79),
  ctz: op(0x7a),
  of: op(0xad),
  low: op(0xa7),
};
const v128 = { splat: op(SIMD, 15), eq: op(SIMD, 35), and: op(SIMD, 78), or: op(SIMD, 80), xor: op(SIMD, 81) };
const anyTrue = op(SIMD, 83);
const bitmask = op(SIMD, 100);
const select = op(0x1b);

const get = (local: number): Code => [0x20, local];
const set = (local: number, value: Code): Code => [...value, 0x21, local];
const num = (value: number): Code => [0x41, ...signed(value)];
const num64 = (value: number): Code => [0x42, ...signed(value)];
const byteAt = (address: Code, offset: number): Code => [...address, 0x2d, 0, ...unsigned(offset)];
const vectorAt = (address: Code, offset: number): Code => [...address, SIMD, 0, 0, ...unsigned(offset)];
const store = (address: Code, value: Code): Code => [...address, ...value, 0x36, 0, 0];
const loop = (...body: readonly Code[]): Code => [0x03, 0x40, ...body.flat(), 0x0b];
const block = (...body: readonly Code[]): Code => [0x02, 0x40, ...body.flat(), 0x0b];
const when = (condition: Code, ...body: readonly Code[]): Code => [...condition, 0x04, 0x40, ...body.flat(), 0x0b];
/** leaves the block, or begins the loop anew, that is `depth` levels out */
const jump = (depth: number): Code => [0x0c, depth];
const jumpIf = (depth: number, condition: Code): Code => [...condition, 0x0d, depth];

// Parameters, then locals by type. `at2` is where two bytes before the next lie: memory offsets can't be negative.
const [at2, to2, tooLongAt2, maxLine, lineEnds, nuls] = [0, 1, 2, 3, 4, 5];
const [lineAt, stop2, byte, before] = [6, 7, 8, 9];
const lfBits = 10;
const [seen, cr, lf, dot, zero, endsMask, nulsMask, now, lfs] = [11, 12, 13, 14, 15, 16, 17, 18, 19];

/** Vector `k` of a stride: what in it is remarkable goes into `seen`, its LFs into `lfBits`. */
function lookAtVector(k: number): Code {
  const [back2, back1] = [vectorAt(get(at2), 16 * k), vectorAt(get(at2), 16 * k + 1)];
  const badEnds = v128.and(v128.xor(get(lfs), v128.eq(back1, get(cr))), get(endsMask));
  const badNuls = v128.and(v128.eq(get(now), get(zero)), get(nulsMask));
  const dotLine = v128.and(v128.eq(back2, get(lf)), v128.eq(back1, get(dot)));
  const dotLineEnd = v128.and(dotLine, v128.or(v128.eq(get(now), get(cr)), get(lfs)));
  const remarkable = v128.or(v128.or(badEnds, badNuls), dotLineEnd);
  const bits = i64.shl(i64.of(bitmask(get(lfs))), num64(16 * k));
  return [
    set(now, vectorAt(get(at2), 16 * k + 2)),
    set(lfs, v128.eq(get(now), get(lf))),
    set(seen, k === 0 ? remarkable : v128.or(get(seen), remarkable)),
    set(lfBits, k === 0 ? bits : i64.or(get(lfBits), bits)),
  ].flat();
}

const nextStride = i32.add(get(at2), num(STRIDE));

/** Whole strides as long as there is nothing to see. */
const fast = block(
  loop(
    jumpIf(1, i32.lt(get(to2), nextStride)),
    lookAtVector(0),
    lookAtVector(1),
    lookAtVector(2),
    lookAtVector(3),
    jumpIf(1, anyTrue(get(seen))),
    // Without an LF ctz is 64: the stride's end must not be beyond either.
    jumpIf(1, i32.ge(i32.add(get(at2), i64.low(i64.ctz(get(lfBits)))), get(tooLongAt2))),
    // Lines within the stride are shorter than any bound.
    set(lineAt, select(get(lineAt), i32.sub(nextStride, i64.low(i64.clz(get(lfBits)))), i64.isZero(get(lfBits)))),
    set(tooLongAt2, select(get(tooLongAt2), i32.add(get(lineAt), get(maxLine)), i64.isZero(get(lfBits)))),
    set(at2, nextStride),
    jump(0),
  ),
);

const isByte = (code: number): Code => i32eq(get(byte), num(code));
const badEnd = i32and(i32.ne(isByte(LF), i32eq(get(before), num(CR))), get(lineEnds));
const badNul = i32and(isByte(0), get(nuls));
const afterDot = i32and(i32eq(byteAt(get(at2), 0), num(LF)), i32eq(get(before), num(DOT)));
const dotEnd = i32and(afterDot, i32.or(isByte(CR), isByte(LF)));
const tooLong = i32.ge(get(at2), get(tooLongAt2));

/** One stride byte by byte: leaves by `depth` at what needs a closer look, else falls through. */
const slow = (depth: number): Code => [
  ...set(stop2, select(get(to2), nextStride, i32.lt(get(to2), nextStride))),
  ...block(
    loop(
      jumpIf(1, i32.ge(get(at2), get(stop2))),
      set(before, byteAt(get(at2), 1)),
      set(byte, byteAt(get(at2), 2)),
      jumpIf(depth + 2, i32.or(i32.or(badEnd, badNul), i32.or(dotEnd, tooLong))),
      set(at2, i32.add(get(at2), num(1))),
      when(isByte(LF), set(lineAt, get(at2)), set(tooLongAt2, i32.add(get(at2), get(maxLine)))),
      jump(0),
    ),
  ),
];

const program: Code = [
  ...set(at2, i32.sub(get(at2), num(2))),
  ...set(to2, i32.sub(get(to2), num(2))),
  ...set(tooLongAt2, i32.sub(get(tooLongAt2), num(2))),
  ...set(lineAt, num(-2)),
  ...set(cr, v128.splat(num(CR))),
  ...set(lf, v128.splat(num(LF))),
  ...set(dot, v128.splat(num(DOT))),
  ...set(zero, v128.splat(num(0))),
  ...set(endsMask, v128.splat(get(lineEnds))),
  ...set(nulsMask, v128.splat(get(nuls))),
  ...block(loop(fast, slow(1), jumpIf(0, i32.lt(get(at2), get(to2))))),
  ...store(num(LINE_AT), i32.add(get(lineAt), num(2))),
  ...i32.add(get(at2), num(2)),
];

const [I32, I64, V128] = [0x7f, 0x7e, 0x7b];
const section = (id: number, ...content: readonly Code[]): Code => [id, ...vector(content.flat())];
const name = (text: string): Code => vector([...Buffer.from(text)]);
function vector(bytes: Code): Code {
  return [...unsigned(bytes.length), ...bytes];
}

/** The module, to be compiled. */
export const scanModuleBytes = Uint8Array.from([
  ...Buffer.from('\0asm\x01\0\0\0', 'latin1'),
  ...section(1, [1, 0x60, ...vector([I32, I32, I32, I32, I32, I32]), ...vector([I32])]),
  ...section(2, [1], name('wire'), name('memory'), [2, 0, 1]),
  ...section(3, [1, 0]),
  ...section(7, [1], name('scan'), [0, 0]),
  ...section(10, [1], vector([3, 4, I32, 1, I64, 9, V128, ...program, 0x0b])),
]);

/** LEB128 */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): Code {
  return value >= -64 && value < 64 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}
