import { type FormEvent, type ReactNode, useEffect, useRef } from 'react';
import { Button } from './button.tsx';

type Props = {
  readonly title: string;
  readonly children: ReactNode;
  /** What is done when it is confirmed; without it there is nothing to confirm. */
  readonly submit?: { readonly words: string; readonly isBusy: boolean; readonly isReady?: boolean; readonly onSubmit: () => void };
  readonly onClose: () => void;
};

/** A question in front of the page. The browser keeps the focus in it, closes it with Escape and gives the focus back. */
export function Dialog({ title, children, submit, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    if (submit !== undefined && !submit.isBusy && submit.isReady !== false) submit.onSubmit();
  };
  return (
    <dialog
      className="ws-dialog"
      ref={dialog}
      aria-labelledby="dialog-title"
      onCancel={(event) => {
        // It is taken away by who showed it, not by the browser behind its back.
        event.preventDefault();
        onClose();
      }}
    >
      <form className="ws-dialog__form" onSubmit={onSubmit}>
        <h2 className="pf-v6-c-title pf-m-xl" id="dialog-title">
          {title}
        </h2>
        {children}
        <div className="ws-actions__row">
          {submit !== undefined && (
            <Button kind="primary" type="submit" isBusy={submit.isBusy} isDisabled={submit.isReady === false}>
              {submit.words}
            </Button>
          )}
          <Button kind={submit === undefined ? 'secondary' : 'link'} onClick={onClose}>
            {submit === undefined ? 'Close' : 'Cancel'}
          </Button>
        </div>
      </form>
    </dialog>
  );
}
