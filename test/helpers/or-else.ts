/** What is asked of /proc, or of a directory in use, may be gone by then: that is an answer too. */
export function orElse<Value>(read: () => Value, otherwise: Value): Value {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
