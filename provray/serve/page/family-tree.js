// A lineage as trees: each model hangs on the one parent that puts it deepest, so that every generation stands right of
// all its ancestors. Its other parents are lines across.

/** Relations by which no weights come from the parent start with one of these words. */
export const OUTPUTS_ONLY = /^(distilled|stolen|student|behaves)/;

/**
 * The trees of a `ModelLineage`: nodes by model, and those that start a tree. Of a node: `link`, the edge it hangs on or
 * null; `across`, its other parents' edges; `layer`, generations above it; `children`; `below`, models hanging on it.
 */
export function familyTree(lineage) {
  const parents = new Map(lineage.nodes.map(({ model }) => [model, []]));
  for (const edge of lineage.edges) {
    if (edge.parent !== edge.child && parents.has(edge.parent)) parents.get(edge.child)?.push(edge);
  }
  const { layers, circular } = layersOf(parents);
  const nodes = new Map();
  for (const [model, above] of parents) {
    const hung = above.filter(edge => !circular.has(edge));
    const link = hung.sort((a, b) => layers.get(b.parent) - layers.get(a.parent) || b.score - a.score || (a.parent < b.parent ? -1 : 1))[0] ?? null;
    nodes.set(model, { model, link, across: above.filter(edge => edge !== link), layer: layers.get(model), children: [], below: 0 });
  }
  const roots = [];
  for (const node of nodes.values()) (node.link ? nodes.get(node.link.parent).children : roots).push(node);
  for (const node of [...nodes.values()].sort((a, b) => b.layer - a.layer)) {
    node.below = node.children.reduce((sum, child) => sum + 1 + child.below, 0);
    node.children.sort(inOrder);
  }
  return { nodes, roots: roots.sort(inOrder), edges: [...parents.values()].flat() };
}

/** All nodes from the roots down, each before what hangs on it, with how deep it hangs. */
export function walk({ roots }) {
  const found = [];
  const waiting = roots.map(node => ({ node, level: 0 })).reverse();
  while (waiting.length) {
    const step = waiting.pop();
    found.push(step);
    for (const child of [...step.node.children].reverse()) waiting.push({ node: child, level: step.level + 1 });
  }
  return found;
}

/** How a node was made from the one it hangs on. */
export const relationOf = node => node.link?.relation || 'unknown relation';

const inOrder = (a, b) => b.below - a.below || (relationOf(a) < relationOf(b) ? -1 : relationOf(a) > relationOf(b) ? 1 : a.model < b.model ? -1 : 1);

/** Longest line of descent above each model, and the edges left out to break circles. */
function layersOf(parents) {
  const layers = new Map(), circular = new Set();
  for (const start of parents.keys()) {
    const waiting = [start], onPath = new Set();
    while (waiting.length) {
      const model = waiting[waiting.length - 1];
      if (layers.has(model)) { waiting.pop(); continue; }
      onPath.add(model);
      for (const edge of parents.get(model)) if (onPath.has(edge.parent)) circular.add(edge);
      const above = parents.get(model).filter(edge => !circular.has(edge)).map(edge => edge.parent);
      const unknown = above.find(parent => !layers.has(parent));
      if (unknown !== undefined) { waiting.push(unknown); continue; }
      layers.set(model, 1 + Math.max(-1, ...above.map(parent => layers.get(parent))));
      onPath.delete(model);
      waiting.pop();
    }
  }
  return { layers, circular };
}
