type Props = { readonly percent: number; readonly words: string; readonly label: string };

/** How far something is: a bar, and the same in words. */
export function Progress({ percent, words, label }: Props) {
  const part = Math.max(0, Math.min(100, percent));
  return (
    <div className="ws-progress">
      <div
        className="ws-progress__bar"
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.floor(part)}
      >
        <div className="ws-progress__done" style={{ width: `${part}%` }} />
      </div>
      <span className="ws-progress__words">{words}</span>
    </div>
  );
}
