// As much of an ELF file (64 bits, little endian) as a release needs: for which machine it is, and the same file without what no run of it reads - symbols, line
// numbers, comments. binutils' strip does that too, but only for machines that it was built for.
//
//   header      0x10 type  0x12 machine  0x28 offset of the section headers  0x3a their size  0x3c their number  0x3e which of them has the names
//   section     0x00 name  0x04 type  0x08 flags  0x18 offset  0x20 size
const MAGIC = 0x464c457f;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
const SECTION_BYTES = 64;
const TYPE_STRINGS = 3;
const TYPE_NO_BITS = 8;
/** The section is part of what is loaded. */
const LOADED = 2n;

const machines: Readonly<Record<number, string>> = { 62: 'x86-64', 183: 'AArch64' };

/** The machine that a program or shared object is for. */
export function machineOf(file: Buffer): string {
  judge(file);
  const machine = file.readUInt16LE(0x12);
  return machines[machine] ?? `machine ${machine}`;
}

interface Section {
  readonly header: Buffer;
  readonly name: string;
  readonly end: number;
}

/** The same program with only the sections that are loaded. */
export function stripped(file: Buffer): Buffer {
  judge(file);
  const sections = sectionsOf(file);
  // The first one is empty. What is loaded stands before what is not, so that sections keep their numbers, by which they name each other.
  const kept = sections.filter(({ header }, index) => index === 0 || (header.readBigUInt64LE(0x08) & LOADED) !== 0n);
  if (kept.some((section, index) => section !== sections[index])) throw new Error('sections that are loaded stand after others');
  const end = Math.max(...kept.map((section) => section.end));
  const names = Buffer.from(`\0${kept.map(({ name }) => `${name}\0`).join('')}.shstrtab\0`, 'latin1');
  const headersAt = align(end + names.length);
  const made = Buffer.alloc(headersAt + (kept.length + 1) * SECTION_BYTES);
  file.copy(made, 0, 0, end);
  names.copy(made, end);
  let nameAt = 1;
  kept.forEach(({ header, name }, index) => {
    const at = headersAt + index * SECTION_BYTES;
    header.copy(made, at);
    made.writeUInt32LE(index === 0 ? 0 : nameAt, at);
    nameAt += name.length + 1;
  });
  const last = headersAt + kept.length * SECTION_BYTES;
  made.writeUInt32LE(nameAt, last);
  made.writeUInt32LE(TYPE_STRINGS, last + 0x04);
  made.writeBigUInt64LE(BigInt(end), last + 0x18);
  made.writeBigUInt64LE(BigInt(names.length), last + 0x20);
  made.writeBigUInt64LE(1n, last + 0x30); // alignment
  made.writeBigUInt64LE(BigInt(headersAt), 0x28);
  made.writeUInt16LE(kept.length + 1, 0x3c);
  made.writeUInt16LE(kept.length, 0x3e);
  return made;
}

function sectionsOf(file: Buffer): readonly Section[] {
  const at = Number(file.readBigUInt64LE(0x28));
  const count = file.readUInt16LE(0x3c);
  const headers = Array.from({ length: count }, (_, index) =>
    file.subarray(at + index * SECTION_BYTES, at + (index + 1) * SECTION_BYTES),
  );
  const namesAt = Number(headers[file.readUInt16LE(0x3e)]!.readBigUInt64LE(0x18));
  return headers.map((header) => {
    const nameAt = namesAt + header.readUInt32LE(0);
    const size = header.readUInt32LE(0x04) === TYPE_NO_BITS ? 0 : Number(header.readBigUInt64LE(0x20));
    return {
      header,
      name: file.toString('latin1', nameAt, file.indexOf(0, nameAt)),
      end: Number(header.readBigUInt64LE(0x18)) + size,
    };
  });
}

function judge(file: Buffer): void {
  const isElf = file.length > SECTION_BYTES && file.readUInt32LE(0) === MAGIC;
  if (!isElf || file[4] !== CLASS_64 || file[5] !== LITTLE_ENDIAN) throw new Error('no ELF file of 64 bits, little endian');
  if (file.readUInt16LE(0x3a) !== SECTION_BYTES) throw new Error('an ELF file without section headers');
}

function align(offset: number): number {
  return Math.ceil(offset / 8) * 8;
}
