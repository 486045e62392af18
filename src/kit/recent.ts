/** Puts it last; when it is one too many, the first is forgotten, whose key is returned. */
export function putLast<V>(map: Map<string, V>, key: string, value: V, most: number): string | undefined {
  map.delete(key);
  map.set(key, value);
  if (map.size <= most) return undefined;
  const { value: first } = map.keys().next() as { value: string };
  map.delete(first);
  return first;
}
