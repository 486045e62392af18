/** `postern config`: what a configuration can say. */
import { parseArgs } from 'node:util';
import { configMarkdown } from '../config/docs.ts';
import { exampleToml } from '../config/example.ts';
import { type Command, UsageError } from './command.ts';

export const command: Command = {
  name: 'config',
  summary: 'print a commented example, or the reference of every key',
  help: `Usage: postern config --example | --docs

  --example   a commented configuration file to begin with
  --docs      every key with its type, default and meaning, as Markdown

Example: postern config --example > postern.toml && postern check --config postern.toml
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: { example: { type: 'boolean' }, docs: { type: 'boolean' } },
    });
    if (values.example === values.docs) throw new UsageError('say either --example or --docs');
    io.out(values.example ? exampleToml() : configMarkdown());
    return 0;
  },
};
