/**
 * @file The merges of a SentencePiece tokenizer, made from the scores of its pieces. SentencePiece, and llama.cpp after
 * it, joins the two neighbours whose joined text is the piece of the highest score, and of equals the leftmost, until no
 * two make a piece. A list of merges says the same: one for each way to cut a piece in two, sorted by the piece's score.
 *
 * Known difference: where one piece can be joined from the same characters in two ways that overlap ("aba" from "ab" and
 * "a", or from "a" and "ba", in "ab a ba"), SentencePiece takes the left one, and a list of merges the one that it has
 * first. transformers, which makes the list in the same way, differs likewise.
 */

export interface Piece {
  readonly text: string;
  readonly score: number;
}

/**
 * @param pieces those that text may be made of, without control, unknown and byte pieces
 * @returns left and right part, those to be joined first in front
 */
export function mergesOfPieces(pieces: readonly Piece[]): (readonly [string, string])[] {
  const texts = new Set(pieces.map(({ text }) => text));
  const isSymbol = (part: readonly string[], text: string) => part.length === 1 || texts.has(text);
  const best = [...pieces].sort((a, b) => b.score - a.score);
  return best.flatMap(({ text }) => {
    const characters = [...text];
    const merges: [string, string][] = [];
    // The longer left part first, as transformers has it.
    for (let at = characters.length - 1; at > 0; at--) {
      const [left, right] = [characters.slice(0, at), characters.slice(at)];
      const [leftText, rightText] = [left.join(""), right.join("")];
      if (isSymbol(left, leftText) && isSymbol(right, rightText)) merges.push([leftText, rightText]);
    }
    return merges;
  });
}
