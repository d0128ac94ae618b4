// Draws the points: with WebGL, or on a plain canvas where there is none.

export interface Camera {
  /** The place at the centre. */
  x: number;
  y: number;
  /** Pixels of the screen for one unit of the map. */
  zoom: number;
}

export interface PointRenderer {
  setPlaces(places: Float32Array): void;
  /** (n, 4) bytes: red, green, blue, opacity. */
  setColors(colors: Uint8Array): void;
  draw(camera: Camera, width: number, height: number, size: number): void;
}

const VERTEX = `
attribute vec2 place;
attribute vec4 color;
uniform vec2 centre;
uniform vec2 scale;
uniform mediump float size;
varying vec4 shade;
void main() {
  gl_Position = vec4((place - centre) * scale, 0.0, 1.0);
  gl_PointSize = color.a > 0.2 ? size : 0.7 * size;
  shade = color;
}`;

const FRAGMENT = `
precision mediump float;
uniform float size;
varying vec4 shade;
void main() {
  float edge = length(gl_PointCoord - 0.5) * size;
  float inside = clamp(0.5 * size - edge, 0.0, 1.0);
  gl_FragColor = vec4(shade.rgb * shade.a, shade.a) * inside;
}`;

export function makeRenderer(canvas: HTMLCanvasElement): PointRenderer {
  const options = { antialias: false, premultipliedAlpha: true, depth: false, preserveDrawingBuffer: false };
  const gl = canvas.getContext("webgl", options) as WebGLRenderingContext | null;
  return gl ? new WebGlRenderer(canvas, gl) : new CanvasRenderer(canvas);
}

class WebGlRenderer implements PointRenderer {
  private places = new Float32Array();
  private colors = new Uint8Array();
  private at: Record<"centre" | "scale" | "size", WebGLUniformLocation | null> = {
    centre: null,
    scale: null,
    size: null,
  };

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly gl: WebGLRenderingContext,
  ) {
    this.prepare();
    // A driver that restarts loses everything that it held.
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.prepare();
      this.setPlaces(this.places);
      this.setColors(this.colors);
    });
  }

  private prepare(): void {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, "place");
    gl.bindAttribLocation(program, 1, "color");
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
      throw new Error(`the map cannot be drawn (${gl.getProgramInfoLog(program)})`);
    gl.useProgram(program);
    this.at = {
      centre: gl.getUniformLocation(program, "centre"),
      scale: gl.getUniformLocation(program, "scale"),
      size: gl.getUniformLocation(program, "size"),
    };
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.clearColor(0, 0, 0, 0);
    [0, 1].forEach((attribute) => gl.enableVertexAttribArray(attribute));
    this.buffer(0, 2, gl.FLOAT, false);
    this.buffer(1, 4, gl.UNSIGNED_BYTE, true);
  }

  private buffer(attribute: number, size: number, type: number, scaled: boolean): void {
    const { gl } = this;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.vertexAttribPointer(attribute, size, type, scaled, 0, 0);
    this.buffers[attribute] = buffer;
  }
  private readonly buffers: (WebGLBuffer | null)[] = [];

  setPlaces(places: Float32Array): void {
    this.places = new Float32Array(places);
    this.fill(0, this.places);
  }

  setColors(colors: Uint8Array): void {
    this.colors = new Uint8Array(colors);
    this.fill(1, this.colors);
  }

  private fill(attribute: number, data: Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>): void {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[attribute]);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
  }

  draw(camera: Camera, width: number, height: number, size: number): void {
    const { gl, canvas } = this;
    const ratio = canvas.width / Math.max(1, width);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(this.at.centre, camera.x, camera.y);
    gl.uniform2f(this.at.scale, (2 * camera.zoom) / width, (2 * camera.zoom) / height);
    gl.uniform1f(this.at.size, size * ratio);
    gl.drawArrays(gl.POINTS, 0, this.places.length / 2);
  }
}

class CanvasRenderer implements PointRenderer {
  private places = new Float32Array();
  private colors = new Uint8Array();

  constructor(private readonly canvas: HTMLCanvasElement) {}

  setPlaces(places: Float32Array): void {
    this.places = new Float32Array(places);
  }

  setColors(colors: Uint8Array): void {
    this.colors = new Uint8Array(colors);
  }

  draw(camera: Camera, width: number, height: number, size: number): void {
    const context = this.canvas.getContext("2d")!;
    const ratio = this.canvas.width / Math.max(1, width);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    for (let i = 0; i < this.places.length / 2; i++) {
      const [r, g, b, a] = this.colors.subarray(4 * i, 4 * i + 4);
      context.fillStyle = `rgb(${r} ${g} ${b} / ${a / 255})`;
      const x = (this.places[2 * i] - camera.x) * camera.zoom + width / 2;
      const y = height / 2 - (this.places[2 * i + 1] - camera.y) * camera.zoom;
      context.fillRect(x - size / 2, y - size / 2, size, size);
    }
  }
}
