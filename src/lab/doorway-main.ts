/** Runs in the gateway's namespace: each connection that is handed in goes on to the panel there. */
import { connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { endpoint } from './report.ts';

const { host, port } = endpoint(process.argv[2] ?? '');

process.on('message', (_message, handle) => {
  const outside = handle as Socket;
  const inside = connect({ host, port });
  pipeline(outside, inside, outside, () => {});
  outside.resume();
});
process.once('disconnect', () => process.exit(0));
