/** Completion for bash: the commands, and the options that each one lists in its own help. */
import { commands } from '../../src/cli/commands.ts';

/** Their value is a file or a directory. */
const WITH_PATH = ['--config', '--corpus', '--into', '--run-dir'];

export async function bashCompletion(): Promise<string> {
  const cases: string[] = [];
  for (const [name, { load }] of Object.entries(commands)) {
    const { command } = await load();
    cases.push(`    ${name}) words='${optionsOf(command.help).join(' ')}' ;;`);
  }
  return `# postern: completion for bash
_postern() {
  local words='' current=\${COMP_WORDS[COMP_CWORD]}
  if [[ $COMP_CWORD = 1 ]]; then
    mapfile -t COMPREPLY < <(compgen -W '${Object.keys(commands).join(' ')} --help --version' -- "$current")
    return
  fi
  case \${COMP_WORDS[COMP_CWORD-1]} in
    ${WITH_PATH.join(' | ')}) return ;;
  esac
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words --help" -- "$current")
}
complete -o default -F _postern postern
`;
}

/** Of the usage and of the list of options, not of the sentences, which speak of other programs too. */
function optionsOf(help: string): string[] {
  const [usage = ''] = /^Usage: (?:.+\n)+/m.exec(help) ?? [];
  const listed = help.split('\n').filter((line) => /^ {2}(?:-\w, )?--/.test(line));
  const found = [usage, ...listed.map((line) => line.slice(0, 26))].join('\n').match(/(?<![\w-])--[a-z][a-z-]*/g) ?? [];
  return [...new Set(found)].sort();
}
