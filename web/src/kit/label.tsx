import { Icon, type IconName } from './icon.tsx';

export type LabelColor = 'red' | 'orange' | 'blue' | 'green' | 'grey' | 'purple';

/** A word that stands for a state. */
export function Label({ color, icon, children }: { readonly color: LabelColor; readonly icon?: IconName; readonly children: string }) {
  const classes = color === 'grey' ? 'pf-v6-c-label pf-m-compact' : `pf-v6-c-label pf-m-compact pf-m-${color}`;
  return (
    <span className={classes}>
      <span className="pf-v6-c-label__content">
        {icon !== undefined && (
          <span className="pf-v6-c-label__icon">
            <Icon name={icon} />
          </span>
        )}
        <span className="pf-v6-c-label__text">{children}</span>
      </span>
    </span>
  );
}
