// The picture of a family, drawn by Cytoscape on places worked out before. Moved by mouse, touch or keys.

import { visible } from './elements.js';
import { BOX, planFamily } from './family-plan.js';
import { OUTPUTS_ONLY } from './family-tree.js';
import { count } from './words.js';
import cytoscape from './vendor/cytoscape-3.34.4.min.mjs';

const LETTERS = 27;
const CLOSEST = 1.6, READABLE = 0.8;

/**
 * Draw a tree into a container. open: called with a model that was chosen; drawn: called with how many models are
 * drawn; say: called with words for those who cannot see it.
 */
export function drawFamily(container, { tree, focus, open, drawn, say }) {
  const opened = new Set();
  const cy = cytoscape({
    container, elements: [], style: styleOf(container), layout: { name: 'preset' },
    minZoom: 0.04, maxZoom: CLOSEST, autoungrabify: true, boxSelectionEnabled: false, autounselectify: true,
  });
  let at = focus;

  function draw() {
    const plan = planFamily(tree, focus, opened);
    cy.batch(() => {
      cy.elements().remove();
      cy.add(elementsOf(plan, tree, focus));
    });
    drawn(plan.models);
    mark(cy.getElementById(at).nonempty() ? at : focus);
  }
  function mark(id) {
    cy.nodes().removeClass('at');
    at = id;
    cy.getElementById(id).addClass('at');
  }
  function choose(node) {
    const id = node.id();
    const kind = node.data('kind');
    if (kind === 'model') return id === focus ? say(`${id} is the model shown.`) : open(id);
    if (kind === 'fold') opened.add(id);
    else opened.delete(id);
    at = id;
    draw();
    show(cy.getElementById(id));
    return say(kind === 'fold' ? `Opened: ${count(node.data('many'))} models.` : 'Folded.');
  }
  /** Move so that a box can be read. */
  function show(node) {
    cy.stop();
    const box = node.renderedBoundingBox();
    const inside = box.x1 > 0 && box.y1 > 0 && box.x2 < cy.width() && box.y2 < cy.height();
    if (!inside) cy.center(node);
  }
  function whole() { cy.fit(undefined, 24); }
  function begin() {
    whole();
    if (cy.zoom() < READABLE) {
      cy.zoom(READABLE);
      cy.center(cy.getElementById(focus));
      // Never beside the family: a corner of it is brought to the corner of the frame.
      const all = cy.elements().renderedBoundingBox();
      const slack = (low, high, size) => high - low < size ? (size - high - low) / 2 : low > 24 ? 24 - low : high < size - 24 ? size - 24 - high : 0;
      cy.panBy({ x: slack(all.x1, all.x2, cy.width()), y: slack(all.y1, all.y2, cy.height()) });
    }
  }
  function zoom(by) {
    cy.zoom({ level: cy.zoom() * by, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } });
  }
  function step(event) {
    const node = cy.getElementById(at);
    const keys = {
      Enter: () => choose(node), '+': () => zoom(1.25), '=': () => zoom(1.25), '-': () => zoom(0.8), 0: whole,
      ArrowLeft: () => node.incomers('node'), ArrowRight: () => nearest(node, node.outgoers('node')),
      ArrowUp: () => beside(cy, node, -1), ArrowDown: () => beside(cy, node, 1),
    };
    const found = keys[event.key]?.call();
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (event.key.startsWith('Arrow') && found?.nonempty()) {
      mark(found[0].id());
      show(found[0]);
      say(found[0].data('said'));
    }
  }

  cy.on('tap', 'node', event => choose(event.target));
  cy.on('mouseover', 'node', event => { container.style.cursor = 'pointer'; container.title = event.target.data('said'); });
  cy.on('mouseout', 'node', () => { container.style.cursor = ''; container.title = ''; });
  // The wheel scrolls the page; with Ctrl, or two fingers, it zooms.
  container.addEventListener('wheel', event => cy.userZoomingEnabled(event.ctrlKey || event.metaKey), { capture: true, passive: true });
  container.addEventListener('keydown', step);
  const recolour = () => cy.style(styleOf(container));
  addEventListener('themechange', recolour);
  draw();
  begin();
  return {
    zoom, whole, count: () => cy.nodes('[kind = "model"]').length,
    foldAll() { opened.clear(); draw(); begin(); },
    destroy() { removeEventListener('themechange', recolour); cy.destroy(); },
  };
}

/** The next box above (-1) or below (1), of the same generation if there is one. */
function beside(cy, node, way) {
  const { x, y } = node.position();
  const there = cy.nodes('[kind != "group"]').filter(one => Math.sign(one.position('y') - y) === way);
  const same = there.filter(one => Math.abs(one.position('x') - x) < 1);
  return nearest(node, same.nonempty() ? same : there);
}

function nearest(node, others) {
  const distance = one => Math.hypot(one.position('x') - node.position('x'), one.position('y') - node.position('y'));
  return others.sort((a, b) => distance(a) - distance(b)).slice(0, 1);
}

function elementsOf({ boxes, lines }, tree, focus) {
  const nodes = boxes.map(({ id, kind, node, many, relation, inside, x, y }) => ({
    group: 'nodes',
    data: { id, kind, many, parent: inside, label: kind === 'model' ? short(id) : foldLabel(kind, many, relation), said: kind === 'model' ? said(node) : `${foldLabel(kind, many, relation)}: press Enter to ${kind === 'fold' ? 'open' : 'fold'}` },
    classes: `${kind}${id === focus ? ' focus' : ''}${kind === 'model' && !tree.nodes.get(id).link ? ' root' : ''}`,
    position: { x, y },
  }));
  const edges = lines.map(({ from, to, edge, across }) => ({
    group: 'edges',
    data: { source: from, target: to, label: edge?.relation ? cut(edge.relation, 18) : '' },
    classes: [across ? 'across' : 'down', edge && !edge.direction_known ? 'unsure' : '', edge && OUTPUTS_ONLY.test(edge.relation) ? 'outputs' : ''].join(' '),
  }));
  return [...nodes, ...edges];
}

function foldLabel(kind, many, relation) {
  return `${kind === 'fold' ? '+ ' : '− '}${count(many)}${relation ? ` × ${relation}` : ' more'}`;
}

function said({ model, link }) {
  if (!link) return visible(model);
  return visible(`${model}: ${link.relation || 'unknown relation'} of ${link.parent}${link.direction_known ? '' : ', which of the two came first is not known'}`);
}

const cut = (text, letters) => text.length > letters ? `${text.slice(0, Math.ceil(letters / 2) - 1)}…${text.slice(-Math.floor(letters / 2))}` : text;

/** A name on one line if it fits, else its owner above it. */
function short(model) {
  const name = visible(model);
  if (name.length <= LETTERS) return name;
  const slash = name.lastIndexOf('/');
  return slash > 0 ? `${cut(name.slice(0, slash + 1), LETTERS)}\n${cut(name.slice(slash + 1), LETTERS)}` : cut(name, LETTERS);
}

function styleOf(container) {
  const colour = name => {
    container.style.color = `var(--${name})`;
    const found = getComputedStyle(container).color;
    container.style.color = '';
    return found;
  };
  const font = getComputedStyle(container).fontFamily;
  const [paper, sheet, ink, quiet, rule, weights, soft, behaviour, gif] =
    ['paper', 'sheet', 'ink', 'quiet', 'rule', 'weights', 'weights-soft', 'behaviour', 'gif'].map(colour);
  return [
    { selector: 'node', style: { shape: 'round-rectangle', 'corner-radius': 6, width: BOX.width, height: BOX.height, 'background-color': sheet, 'border-width': 1.25, 'border-color': weights, color: ink, label: 'data(label)', 'font-family': font, 'font-size': 13, 'line-height': 1.25, 'text-valign': 'center', 'text-halign': 'center', 'text-wrap': 'wrap', 'text-max-width': BOX.width + 40, 'overlay-opacity': 0, 'min-zoomed-font-size': 5 } },
    { selector: '.root', style: { 'background-color': soft } },
    { selector: '.fold', style: { width: 150, height: 30, 'corner-radius': 15, 'border-color': rule, color: ink, 'font-size': 12.5 } },
    { selector: '.group', style: { 'background-color': paper, 'border-color': rule, 'border-style': 'solid', padding: 12, 'text-valign': 'top', 'text-margin-y': -4, 'font-size': 12.5, color: quiet, events: 'yes' } },
    { selector: '.focus', style: { 'background-color': weights, color: paper, 'font-weight': 600 } },
    { selector: '.at', style: { 'outline-width': 2.5, 'outline-offset': 2, 'outline-color': behaviour } },
    { selector: 'edge', style: { width: 1.5, 'line-color': weights, 'target-arrow-color': weights, 'target-arrow-shape': 'triangle', 'arrow-scale': 0.9, 'font-family': font, 'font-size': 11, color: quiet, 'text-background-color': paper, 'text-background-opacity': 1, 'text-background-padding': 2, 'target-label': 'data(label)', 'target-text-offset': 52, 'overlay-opacity': 0, 'min-zoomed-font-size': 6 } },
    { selector: '.down', style: { 'curve-style': 'round-taxi', 'taxi-direction': 'rightward', 'taxi-turn': 22, 'taxi-radius': 6, 'source-endpoint': '90deg', 'target-endpoint': '270deg' } },
    { selector: '.across', style: { 'curve-style': 'unbundled-bezier', 'control-point-distances': 30, 'control-point-weights': 0.5, 'line-style': 'dashed', 'line-color': gif, 'target-arrow-color': gif } },
    { selector: '.unsure', style: { 'line-style': 'dashed', 'target-arrow-shape': 'none' } },
    { selector: '.outputs', style: { 'line-style': 'dashed', 'line-color': behaviour, 'target-arrow-color': behaviour } },
  ];
}
