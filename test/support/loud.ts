/** @file Something that `echo.ts` imports. */

export function loud(text: string): string {
  return text.toUpperCase();
}
