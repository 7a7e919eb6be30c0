import { type RefObject, useEffect, useRef } from 'react';

/** Aborts when the component is gone: what it asked for is then nobody's. */
export function useGone(): RefObject<AbortController> {
  const gone = useRef(new AbortController());
  useEffect(() => {
    const { current } = gone;
    return () => current.abort();
  }, []);
  return gone;
}
