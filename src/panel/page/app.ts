/** The panel: who is logged in, and which page the address names. */
import { html } from 'htm/preact';
import { render, type VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { change, logIn, type Me, whenLoggedOut, whoAmI } from './api.ts';
import { Config } from './config.ts';
import { Locks } from './locks.ts';
import { Log } from './log.ts';
import { Message } from './message.ts';
import { Now } from './now.ts';
import { wordsOf, Wrong } from './parts.ts';
import { People } from './people.ts';
import { Senders } from './senders.ts';

const PAGES = {
  now: Now,
  log: Log,
  senders: Senders,
  locks: Locks,
  message: Message,
  people: People,
  config: Config,
} as const;
const LINKS = [
  ['now', 'Now'],
  ['log', 'Log'],
  ['senders', 'Senders'],
  ['locks', 'Locks'],
] as const;

type Place = { readonly name: keyof typeof PAGES; readonly rest: string; readonly query: URLSearchParams };

/** `#/message/ID`, `#/log?q=spam` */
function placeOf(hash: string): Place {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?');
  const [name = '', ...rest] = path.split('/');
  return {
    name: Object.hasOwn(PAGES, name) ? (name as Place['name']) : 'now',
    rest: decoded(rest.join('/')),
    query: new URLSearchParams(query),
  };
}

/** A `%` that stands for itself is one. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function App(): VNode {
  const [me, setMe] = useState<Me | undefined | 'asking'>('asking');
  const [place, setPlace] = useState(placeOf(location.hash));
  const [error, setError] = useState<string | undefined>();
  useEffect(() => {
    whenLoggedOut(() => setMe(undefined));
    whoAmI().then(setMe, (reason: unknown) => setError(wordsOf(reason)));
    const look = (): void => setPlace(placeOf(location.hash));
    addEventListener('hashchange', look);
    return () => removeEventListener('hashchange', look);
  }, []);
  if (error !== undefined) return html`<main><${Wrong} text=${error} /></main>`;
  if (me === 'asking') return html`<main></main>`;
  if (me === undefined) return html`<${LogIn} done=${setMe} />`;
  const leave = async (): Promise<void> => {
    await change('POST', '/api/logout');
    setMe(undefined);
  };
  const links =
    me.role === 'admin' ? [...LINKS, ['config', 'Configuration'] as const, ['people', 'People'] as const] : LINKS;
  return html`
    <header><a class="mark" href="#/now">Postern</a>
      <nav>${links.map(([name, label]) => html`<a key=${name} href=${`#/${name}`} aria-current=${place.name === name ? 'page' : undefined}>${label}</a>`)}</nav>
      <span class="who">${me.name}${me.tenant === undefined ? '' : ` for ${me.tenant}`} <button onClick=${leave}>Log out</button></span>
    </header>
    <main><${PAGES[place.name]} key=${`${place.name} ${place.rest}`} rest=${place.rest} query=${place.query} me=${me} /></main>
  `;
}

function LogIn({ done }: { readonly done: (me: Me) => void }): VNode {
  const [error, setError] = useState<string | undefined>();
  const [isAsking, setAsking] = useState(false);
  const enter = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const given = new FormData(event.target as HTMLFormElement);
    setAsking(true);
    try {
      done(await logIn(given.get('name') as string, given.get('password') as string));
    } catch (refused) {
      setError(wordsOf(refused));
      setAsking(false);
    }
  };
  return html`<main class="login"><h1>Postern</h1>
    <form onSubmit=${enter}>
      <label>Name <input name="name" required autofocus autocomplete="username" /></label>
      <label>Password <input name="password" type="password" required autocomplete="current-password" /></label>
      <button disabled=${isAsking}>Log in</button>
      <${Wrong} text=${error} />
    </form>
    <p class="dim">The first user is made on the gateway: <code>postern user add NAME --admin</code></p>
  </main>`;
}

render(html`<${App} />`, document.body);
