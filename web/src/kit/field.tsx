import { useId } from 'react';

type Props = {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly type?: 'text' | 'password' | 'url';
  readonly hint?: string;
};

/** One line of text that is asked for. */
export function Field({ label, value, onChange, type = 'text', hint }: Props) {
  const id = useId();
  return (
    <div className="ws-field">
      <label htmlFor={id}>{label}</label>
      <span className="pf-v6-c-form-control">
        <input
          id={id}
          type={type}
          required
          autoComplete="off"
          spellCheck={false}
          aria-describedby={hint === undefined ? undefined : `${id}-hint`}
          value={value}
          onChange={(event) => onChange(event.target.value)}
        />
      </span>
      {hint !== undefined && (
        <p className="ws-hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}
