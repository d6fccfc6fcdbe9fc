// What of a family is drawn, and where. A family may have a thousand models; nobody reads a thousand boxes. So childless
// children that were made alike stand together, and past a limit whatever is far from the top is folded.

import { relationOf } from './family-tree.js';

/** Childless children of one parent, made the same way, from which they are folded. */
const CROWD = 6;
/** Boxes drawn before anything is opened by hand. */
const LIMIT = 120;

export const BOX = { width: 204, height: 44 };
const ACROSS = 330, DOWN = 58, GRID = { across: BOX.width + 12, down: BOX.height + 10 };

/**
 * Boxes and lines. focus: the model that is shown whatever else is folded; opened: ids of folds that are drawn in full.
 * Of a box: `id`, `kind` (`model`, `fold`: a pill for `many` models, `group`: an opened fold around its models),
 * `x`, `y`, `inside` (id of the group it stands in). Of a line: `from`, `to`, its `edge`, and whether it runs `across`.
 */
export function planFamily(tree, focus, opened) {
  const items = choose(tree, focus, opened);
  const plan = { boxes: [], lines: [], models: 0 };
  let row = 0;
  for (const item of items.get(null)) row += place(plan, items, item, null, 0, row);
  const drawn = new Set(plan.boxes.filter(box => box.kind === 'model').map(box => box.id));
  plan.models = drawn.size;
  for (const edge of tree.edges) {
    if (drawn.has(edge.parent) && drawn.has(edge.child) && tree.nodes.get(edge.child).link !== edge) {
      plan.lines.push({ from: edge.parent, to: edge.child, edge, across: true });
    }
  }
  return plan;
}

/** For each drawn node, and null for the top, what hangs on it: nodes and folds. Near the top first, until the limit. */
function choose(tree, focus, opened) {
  const path = new Set();
  for (let node = tree.nodes.get(focus); node; node = node.link && tree.nodes.get(node.link.parent)) path.add(node);
  const items = new Map();
  const waiting = [[null, tree.roots]];
  let drawn = 0;
  while (waiting.length) {
    const [node, children] = waiting.shift();
    let found = crowds(node, children, path, opened);
    const id = `rest of ${node?.model ?? ''}`;
    const room = drawn + found.length <= LIMIT || opened.has(id) || children.length === 1;
    if (!room) {
      const kept = found.filter(item => path.has(item));
      const rest = children.filter(child => !path.has(child));
      found = rest.length ? [...kept, { id, many: rest.reduce((sum, one) => sum + 1 + one.below, 0), nodes: rest, relation: '' }] : kept;
    }
    items.set(node, found);
    drawn += found.length;
    for (const item of found) if (!item.nodes && item.children.length) waiting.push([item, item.children]);
  }
  return items;
}

function crowds(node, children, path, opened) {
  const leaves = new Map();
  const found = [];
  for (const child of children) {
    const kind = relationOf(child);
    if (child.children.length || path.has(child)) found.push(child);
    else leaves.set(kind, [...(leaves.get(kind) ?? []), child]);
  }
  for (const [relation, nodes] of leaves) {
    const id = `${relation} of ${node?.model ?? ''}`;
    if (nodes.length < CROWD || children.length <= CROWD) found.push(...nodes);
    else found.push({ id, many: nodes.length, nodes, relation: node ? relation : 'no kin among these', open: opened.has(id) });
  }
  return found;
}

/** Place an item and what hangs on it from `row` on. Returns how many rows they take. */
function place(plan, items, item, parent, layer, row) {
  const x = layer * ACROSS;
  if (item.nodes) return placeFold(plan, item, parent, x, row);
  let rows = 0;
  const hung = items.get(item) ?? [];
  const first = plan.boxes.length;
  const box = { id: item.model, kind: 'model', node: item, x, y: row * DOWN };
  plan.boxes.push(box);
  for (const child of hung) rows += place(plan, items, child, item, layer + 1, row + rows);
  const below = plan.boxes.slice(first + 1).filter(one => one.on === item.model);
  if (below.length) box.y = (below[0].y + below[below.length - 1].y) / 2;
  box.on = parent?.model;
  if (parent) plan.lines.push({ from: parent.model, to: item.model, edge: item.link, across: false });
  return Math.max(1, rows);
}

function placeFold(plan, { id, many, nodes, relation, open }, parent, x, row) {
  const on = parent?.model;
  if (parent) plan.lines.push({ from: on, to: id, edge: null, across: false });
  if (!open) {
    plan.boxes.push({ id, kind: 'fold', many, relation, x, y: row * DOWN, on });
    return 1;
  }
  const columns = Math.ceil(Math.sqrt(nodes.length / 3));
  const rows = Math.ceil(nodes.length / columns);
  const top = row * DOWN + GRID.down / 2;
  plan.boxes.push({ id, kind: 'group', many, relation, x, y: top + (rows - 1) * GRID.down / 2, on });
  nodes.forEach((node, k) => plan.boxes.push({ id: node.model, kind: 'model', node, inside: id,
    x: x + 14 + (k % columns) * GRID.across, y: top + Math.floor(k / columns) * GRID.down }));
  return Math.ceil((rows * GRID.down + 36) / DOWN);
}
