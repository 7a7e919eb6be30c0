import './styles.ts';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app.tsx';
import { followTheme } from './theme.ts';

/*
 * The console: one page, for people, over the same API that scripts use. It knows nothing that the API does not say and keeps
 * nothing: who is signed in is a cookie that no script reads, what is shown is asked for anew.
 */
followTheme();
const root = document.getElementById('root');
if (root === null) throw new Error('index.html has no #root');
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
