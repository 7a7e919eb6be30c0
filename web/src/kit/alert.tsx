import type { ReactNode } from 'react';
import { Icon, type IconName } from './icon.tsx';

export type AlertKind = 'info' | 'success' | 'warning' | 'danger';

const WORDS: { readonly [Kind in AlertKind]: string } = { info: 'Information', success: 'Done', warning: 'Warning', danger: 'Failed' };
const ICONS: { readonly [Kind in AlertKind]: IconName } = { info: 'info', success: 'ok', warning: 'warning', danger: 'problem' };

type Props = { readonly kind: AlertKind; readonly title: string; readonly children?: ReactNode };

/** Something that is to be read, at its place on the page. */
export function Alert({ kind, title, children }: Props) {
  return (
    <div className={`pf-v6-c-alert pf-m-inline pf-m-${kind}`}>
      <div className="pf-v6-c-alert__icon">
        <Icon name={ICONS[kind]} />
      </div>
      <p className="pf-v6-c-alert__title">
        <span className="pf-v6-screen-reader">{WORDS[kind]}: </span>
        {title}
      </p>
      {children !== undefined && children !== '' && <div className="pf-v6-c-alert__description">{children}</div>}
    </div>
  );
}
