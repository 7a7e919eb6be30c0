import type { Refusal } from '../api/ask.ts';
import { formatTime } from '../format.ts';
import { FILTERS, type Filter } from './tree.ts';

const WORDS: { readonly [Name in Filter]: string } = {
  all: 'All',
  problem: 'Problems',
  warning: 'Warnings',
  running: 'Running',
  paused: 'Paused',
  ok: 'Well',
};

type Props = {
  readonly counts: Readonly<Record<Filter, number>>;
  readonly filter: Filter;
  readonly text: string;
  readonly setFilter: (filter: Filter) => void;
  readonly setText: (text: string) => void;
  readonly failure: Refusal | undefined;
  readonly at: string;
};

/** How many are how, and whom to show. Whether the server answers stands here too, where its coming and going moves nothing. */
export function Toolbar({ counts, filter, text, setFilter, setText, failure, at }: Props) {
  return (
    <div className="ws-toolbar">
      <fieldset className="pf-v6-c-toggle-group ws-toolbar__filters">
        <legend className="pf-v6-screen-reader">Which servers are shown</legend>
        {FILTERS.map((name) => (
          <div className="pf-v6-c-toggle-group__item" key={name}>
            <button
              type="button"
              className={`pf-v6-c-toggle-group__button ws-filter ws-filter--${name} ${filter === name ? 'pf-m-selected' : ''}`}
              aria-pressed={filter === name}
              onClick={() => setFilter(name)}
            >
              <span className="pf-v6-c-toggle-group__text">
                {WORDS[name]}{' '}
                <span className={counts[name] > 0 ? 'ws-filter__count' : 'ws-filter__count ws-filter__count--none'}>{counts[name]}</span>
              </span>
            </button>
          </div>
        ))}
      </fieldset>
      <label className="ws-toolbar__text">
        Name
        <span className="pf-v6-c-form-control">
          <input type="search" value={text} onChange={(event) => setText(event.target.value)} />
        </span>
      </label>
      <p className="ws-toolbar__state" role="status">
        {failure === undefined ? (
          <span className="ws-quiet">as of {new Date(at).toLocaleTimeString()}</span>
        ) : (
          <strong>{`${failure.message} Shown is ${formatTime(at)}.`}</strong>
        )}
      </p>
    </div>
  );
}
