/** `[gateway]` */
import { table } from '../field.ts';
import { hostName } from '../value/net.ts';
import { choice, countOrAuto, path, text } from '../value/plain.ts';
import { durationMs } from '../value/quantity.ts';

export const gateway = table('The gateway itself.', {
  name: hostName({ doc: 'EHLO name towards the smarthost, and the name in Received.', example: 'gw1.example.net' }),
  state_dir: path({ doc: 'Where the journal and the locks are kept.', default: '/var/lib/postern' }),
  run_dir: path({ doc: 'Where the sockets between the roles are.', default: '/run/postern' }),
  workers: countOrAuto({ doc: 'Worker processes; "auto" is one for each processor.', default: 'auto', max: 64 }),
  help_url: text({
    doc: 'Shown in every refusal with the class appended: where a sender reads what it means.',
    default: 'https://postern.invalid/classes/',
    example: 'https://mail.example.net/postern/',
    pattern: /^https?:\/\/[\x21-\x7e]{3,120}$/,
    type: 'a URL that begins with http:// or https://, with at most 120 characters after that',
  }),
  drain: durationMs({
    doc: 'How long running sessions may go on after SIGTERM, then 421.',
    default: '30s',
    max: '1h',
  }),
  keeper_failure: choice(['local', 'defer'], {
    doc: 'When a worker cannot reach the keeper: "local" holds each limit with the worker\'s own share, "defer" answers 421.',
    default: 'local',
  }),
});
