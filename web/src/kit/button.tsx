import type { ReactNode, Ref } from 'react';

type Props = {
  readonly kind: 'primary' | 'secondary' | 'danger' | 'link' | 'plain';
  readonly children: ReactNode;
  readonly onClick?: () => void;
  readonly type?: 'button' | 'submit';
  readonly isWide?: boolean;
  readonly isSmall?: boolean;
  /** Not to be pressed again before what it started has an answer. It keeps the focus. */
  readonly isBusy?: boolean;
  readonly isDisabled?: boolean;
  /** What it does, for who does not see it, when its text does not say so alone. */
  readonly label?: string;
  readonly buttonRef?: Ref<HTMLButtonElement>;
};

export function Button({ kind, children, onClick, type = 'button', isWide, isSmall, isBusy, isDisabled, label, buttonRef }: Props) {
  const classes = ['pf-v6-c-button', `pf-m-${kind}`, isWide && 'pf-m-block', isSmall && 'pf-m-small', isBusy && 'ws-busy'];
  return (
    <button
      type={type}
      className={classes.filter(Boolean).join(' ')}
      onClick={isBusy ? undefined : onClick}
      disabled={isDisabled}
      aria-disabled={isBusy}
      aria-label={label}
      ref={buttonRef}
    >
      <span className="pf-v6-c-button__text">{children}</span>
    </button>
  );
}
