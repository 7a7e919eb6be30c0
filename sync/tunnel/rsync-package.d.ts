/** What we use of the npm package `rsync` 0.6.1, which has no types: the argument builder, never `execute`. */
declare module 'rsync' {
  export default class Rsync {
    set(option: string, value?: string): this;
    source(path: string): this;
    destination(path: string): this;
    args(): string[];
  }
}
