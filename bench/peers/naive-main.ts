/** naive-main.ts LISTEN SMARTHOST: the proxy of naive.ts. */
import cluster from 'node:cluster';
import { createTransport } from 'nodemailer';
import { SMTPServer } from 'smtp-server';

const PROCESSES = 2;

if (cluster.isPrimary) for (let i = 0; i < PROCESSES; i++) cluster.fork();
else serve(parts(process.argv[2] ?? ''), parts(process.argv[3] ?? ''));

type Place = { readonly host: string; readonly port: number };

function parts(endpoint: string): Place {
  const at = endpoint.lastIndexOf(':');
  return { host: endpoint.slice(0, at), port: Number(endpoint.slice(at + 1)) };
}

function serve(listen: Place, smarthost: Place): void {
  const transport = createTransport({
    ...smarthost,
    name: 'gw1.example.net',
    pool: true,
    maxConnections: 200,
    maxMessages: Infinity,
    ignoreTLS: true,
  });
  const server = new SMTPServer({
    name: 'gw1.example.net',
    authOptional: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    onRcptTo: ({ address }, _session, done) => {
      done(
        address.startsWith('refused') ? Object.assign(new Error('5.1.1 No such mailbox'), { responseCode: 550 }) : null,
      );
    },
    onData: (stream, { envelope: { mailFrom, rcptTo } }, answer) => {
      const from = mailFrom === false ? '' : mailFrom.address;
      transport.sendMail({ envelope: { from, to: rcptTo.map(({ address }) => address) }, raw: stream }).then(
        () => answer(null, 'taken'),
        (error: Error & { responseCode?: number }) =>
          answer(Object.assign(new Error(error.message), { responseCode: error.responseCode ?? 451 })),
      );
    },
  });
  server.on('error', () => {});
  server.listen({ ...listen, backlog: 4096 });
}
