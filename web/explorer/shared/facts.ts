// What Python wrote into the page: see src/elboroom/explorer/payload.py.

export interface Op {
  op: string;
  [name: string]: unknown;
}

export interface Dimension {
  dim: number;
  layer: number;
  rate: number | null;
  sd: number;
  low: number;
  high: number;
}

export interface MapFacts {
  name: string;
  axes: [string, string];
  centre: number | null;
  directions: number | null;
  places: number | null;
}

export interface ConditionFacts {
  kind: "labels" | "vectors";
  size: number;
  names: string[];
  inDecoder: boolean;
  prior: Record<"mean" | "logScale", { weight: number; bias: number }> | null;
}

export interface AtlasFacts {
  sheets: number[];
  width: number;
  height: number;
  columns: number;
  perSheet: number;
  count: number;
}

export interface ColumnFacts {
  name: string;
  categories: string[];
  unit: string;
  whole: boolean;
  step: string;
  origin: string;
  low: number;
  high: number;
}

export interface PhotoSteps {
  label: string;
  align: string;
}

export interface ArrayFacts {
  type: string;
  shape: number[];
  offset: number;
  scale?: number;
}

export interface Facts {
  format: number;
  elboroom: string;
  name: string;
  data: { name: string; count: number; chosen: number };
  shape: number[];
  latentDim: number;
  valueRange: [number, number];
  sphere: boolean;
  layers: [number, number][];
  dims: Dimension[];
  points: {
    count: number;
    codes: number;
    rows: number;
    labels: number | null;
    labelNames: string[];
    names: string[];
    conditions: number | null;
  };
  classes: { means: number; counts: number[] } | null;
  /** Codes drawn from a prior that was fitted after training. */
  draws: { codes: number; count: number; prior: string } | null;
  maps: MapFacts[];
  condition: ConditionFacts | null;
  /** Examples are the centres of images of the size `stored` (height, width), if that is given. */
  preparation: { kind: string; ways: PhotoSteps[]; stored?: [number, number] };
  atlas: AtlasFacts | null;
  columns: ColumnFacts[] | null;
  decoder: Op[] | null;
  encoder: Op[] | null;
  withoutEncoder: string;
  levels: { threshold: boolean; spacing: number | null };
  weights: { format: string; meanError: number; largestError: number } | null;
  checks: { codes: number; decoded: number; conditions: number | null } | null;
  history: Record<string, (number | null)[]>;
  metrics: Record<string, unknown>;
  config: Record<string, Record<string, unknown>>;
  status: string;
  arrays: ArrayFacts[];
}
