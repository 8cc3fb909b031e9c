// Archives whose bytes depend on nothing but what is in them: no clock, no owner, no compressor.

import { createHash } from "node:crypto";

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A POSIX ustar archive of `[name, bytes]` pairs, in their order. */
export function tar(files) {
  const blocks = [];
  for (const [name, bytes] of files) {
    const header = Buffer.alloc(512);
    const octal = (number, width) => `${number.toString(8).padStart(width - 1, "0")}\0`;
    if (Buffer.byteLength(name) > 100) throw new Error(`${name}: longer than the header of an archive takes`);
    header.write(name, 0);
    header.write(octal(0o644, 8) + octal(0, 8) + octal(0, 8) + octal(bytes.length, 12) + octal(0, 12), 100);
    header.write(" ".repeat(8), 148); // the checksum counts itself as spaces
    header.write("0", 156); // a regular file
    header.write("ustar\u000000", 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    blocks.push(header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** The bytes as gzip (RFC 1952) in stored blocks: what a compressor makes of them differs from version to version. */
export function gzip(bytes) {
  const parts = [Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])];
  for (let start = 0; start === 0 || start < bytes.length; start += 0xffff) {
    const block = bytes.subarray(start, start + 0xffff);
    const header = Buffer.alloc(5);
    header.writeUInt8(start + block.length >= bytes.length ? 1 : 0, 0);
    header.writeUInt16LE(block.length, 1);
    header.writeUInt16LE(block.length ^ 0xffff, 3);
    parts.push(header, block);
  }
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(bytes), 0);
  trailer.writeUInt32LE(bytes.length % 2 ** 32, 4);
  return Buffer.concat([...parts, trailer]);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
