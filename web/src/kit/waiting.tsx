/** Something is on its way and there is nothing else to show yet. */
export function Waiting({ words }: { readonly words: string }) {
  return (
    <div className="ws-alone" role="status">
      <svg className="pf-v6-c-spinner pf-m-lg" viewBox="0 0 100 100" aria-hidden="true">
        <circle className="pf-v6-c-spinner__path" cx="50" cy="50" r="45" fill="none" />
      </svg>
      <p>{words}</p>
    </div>
  );
}
