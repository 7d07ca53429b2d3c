// The encoder of mqtt-packet in its own files, which its typings name only together with the parser.
declare module 'mqtt-packet/generate.js' {
  import type { generate } from 'mqtt-packet';

  const encode: typeof generate;
  export default encode;
}

declare module 'mqtt-packet/writeToStream.js' {
  import type { writeToStream } from 'mqtt-packet';

  const write: typeof writeToStream;
  export default write;
}
