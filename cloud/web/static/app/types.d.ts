/** The shapes of the HTTP interface as the page reads them. */
export type Words = Record<string, string>;
export type Indicator = {
  id: string; value: number | null; low: number | null; high: number | null; coverage: number | null;
  verdict: "PASS" | "FAIL" | "INDETERMINATE" | null; target: number | null; numerator: number; denominator: number;
  unit: string; window: { from: string; to: string }; revision: number; final: boolean;
};
export type Alert = {
  id: string; site: string; rule: string; thing: string; thing_name: Words; severity: "yellow" | "orange" | "red";
  condition: "active" | "cleared"; handling: "new" | "acknowledged" | "resolved"; opened_at: string; cleared_at: string | null;
  last_at: string; count: number; text: { key: string; parameters: Record<string, string | number> }; assignee: string | null;
  acknowledged_by: string | null; acknowledged_at: string | null; historical: boolean; version: number;
};
export type Row = {
  id: string; name: Words; code: string; class: string; criticality: string; device: string; floor: string | null;
  position: [number, number] | null; state: string; since: string | null; value: number | null; value_unit: string | null;
  strip: string[]; intact_24h: number | null;
};
export type Robot = {
  id: string; name: Words; x: number | null; y: number | null; heading: number | null; battery: number | null;
  state: string; floor: string | null; seen_at: string | null;
};
export type Floor = { id: string; name: Words; width_m: number; height_m: number; walls: [number, number][][] };
export type Space = { rect: [number, number, number, number]; floor: string; state: string };
export type CellGrid = { cell_m: number; columns: number; rows: number; cells: [number, number][] };
export type Site = { id: string; name: Words; zone: string };
export type Snapshot = {
  seq: number; epoch: string; time: string; site: Site; floors: Floor[]; spaces: Record<string, Space>; robots: Robot[];
  equipment: Row[]; coverage: Record<string, CellGrid>; alerts: Alert[]; indicators: Indicator[];
};
export type Delta = {
  epoch: string; seq: number; t: string; spaces?: Record<string, string>;
  robots?: (Partial<Robot> & { id: string })[]; equipment?: (Partial<Row> & { id: string })[];
  coverage?: Record<string, [number, number][]>; alerts?: Alert[]; indicators?: Indicator[];
};
export type Trend = { items: [string, number | null][]; step: "day" | "hour"; target: number | null };
export type SiteItem = { id: string; name: Words; type: string; zone: string; gateways_online: number; gateways_total: number };
export type Chosen = { kind: "space" | "robot" | "equipment"; id: string };
