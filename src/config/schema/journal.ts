/** `[journal]` */
import { table } from '../field.ts';
import { choice } from '../value/plain.ts';
import { durationMs, sizeBytes } from '../value/quantity.ts';

export const journal = table('What is remembered, and how long.', {
  keep: durationMs({ doc: 'Age at which a row is deleted.', default: '32d', min: '1h', max: '3650d' }),
  max_size: sizeBytes({
    doc: 'Size of the journal at which the oldest rows are deleted.',
    default: '1GiB',
    min: '1MiB',
    max: '1024GiB',
  }),
  lines: choice(['stdout', 'none'], {
    doc: 'One JSON line for each attempt on standard output (journald) as well.',
    default: 'stdout',
  }),
});
