/** PatternFly is dark under this class; the system says when, and is listened to. */
const DARK = 'pf-v6-theme-dark';

export function followTheme(): void {
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const apply = () => document.documentElement.classList.toggle(DARK, dark.matches);
  dark.addEventListener('change', apply);
  apply();
}
