/** The inside of the filters' threads: what takes longer than the loop can spare. */
import { serveTasks } from '../kit/thread.ts';
import { inspect } from './inspect.ts';
import type { Limits } from './mime.ts';

serveTasks({
  inspect: ({ bytes, limits }: { readonly bytes: Uint8Array; readonly limits: Limits }) =>
    inspect(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), limits, false),
});
