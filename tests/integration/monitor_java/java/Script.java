import io.windtunnel.monitor.Element;
import io.windtunnel.monitor.Frame;
import io.windtunnel.monitor.Level;
import io.windtunnel.monitor.Monitor;
import io.windtunnel.monitor.TensorType;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;

/** An app that does what lines on its standard input say; fields are separated by tabs. */
public final class Script {
    private final Monitor monitor;
    private Frame frame;

    private Script(Monitor monitor) {
        this.monitor = monitor;
    }

    private static Monitor.Builder builder(String[] options) {
        Monitor.Builder builder = Monitor.builder(options[0]);
        for (int i = 1; i + 1 < options.length; i += 2) {
            String value = options[i + 1];
            switch (options[i]) {
                case "level": builder.level(value); break;
                case "raw": builder.raw(Boolean.parseBoolean(value)); break;
                case "every": builder.every(Integer.parseInt(value)); break;
                case "every_s": builder.everySeconds(Double.parseDouble(value)); break;
                case "memory_bytes": builder.memoryBytes(Long.parseLong(value)); break;
                case "file_bytes": builder.fileBytes(Long.parseLong(value)); break;
                case "disk_bytes": builder.diskBytes(Long.parseLong(value)); break;
                case "flush_frames": builder.flushFrames(Integer.parseInt(value)); break;
                case "flush_s": builder.flushSeconds(Double.parseDouble(value)); break;
                case "model": builder.model(new File(value)); break;
                case "redact": builder.redact(value, Script::redact); break;
                default: builder.fact(options[i], value);
            }
        }
        return builder;
    }

    private static Object redact(String role, String name, Object values) {
        if (role.equals("raw")) {
            return null;
        }
        if (name.equals("broken")) {
            throw new IllegalStateException("broken hook");
        }
        if (name.equals("secret") && values instanceof float[]) {
            java.util.Arrays.fill((float[]) values, 0.5f);
        }
        return name.equals("password") ? "***" : values;
    }

    /** An array from a file: `element,shape,form,path`; form: array, nested, direct, big, typed or number. */
    private static Object array(String spec, TensorType[] type) throws Exception {
        String[] fields = spec.split(",", 4);
        byte[] bytes = Files.readAllBytes(Paths.get(fields[3]));
        if (fields[0].equals("text")) {
            return new String(bytes, StandardCharsets.UTF_8);
        }
        Element element = Element.valueOf(fields[0].toUpperCase(java.util.Locale.ROOT));
        String[] sizes = fields[1].isEmpty() ? new String[0] : fields[1].split("x");
        int[] shape = new int[sizes.length];
        for (int i = 0; i < shape.length; i++) {
            shape[i] = Integer.parseInt(sizes[i]);
        }
        type[0] = TensorType.of(element, shape);
        Object flat = flat(element, bytes);
        switch (fields[2]) {
            case "nested": return nested(flat, shape, 0, new int[1]);
            case "number": return java.lang.reflect.Array.get(flat, 0);
            case "direct": return put(ByteBuffer.allocateDirect(bytes.length).order(ByteOrder.nativeOrder()), flat);
            case "big": return put(ByteBuffer.allocate(bytes.length).order(ByteOrder.BIG_ENDIAN), flat);
            case "typed": return java.nio.FloatBuffer.wrap((float[]) flat);
            default: return flat;
        }
    }

    private static Object flat(Element element, byte[] bytes) {
        ByteBuffer from = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        switch (element) {
            case FLOAT32: float[] floats = new float[bytes.length / 4]; from.asFloatBuffer().get(floats); return floats;
            case FLOAT64: double[] wide = new double[bytes.length / 8]; from.asDoubleBuffer().get(wide); return wide;
            case INT32: int[] ints = new int[bytes.length / 4]; from.asIntBuffer().get(ints); return ints;
            case INT64: long[] longs = new long[bytes.length / 8]; from.asLongBuffer().get(longs); return longs;
            case FLOAT16: case UINT16: case INT16:
                short[] shorts = new short[bytes.length / 2]; from.asShortBuffer().get(shorts); return shorts;
            case BOOL:
                boolean[] flags = new boolean[bytes.length];
                for (int i = 0; i < flags.length; i++) {
                    flags[i] = bytes[i] != 0;
                }
                return flags;
            default: return bytes;
        }
    }

    private static Object nested(Object flat, int[] shape, int depth, int[] at) {
        Class<?> type = flat.getClass().getComponentType();
        if (depth == shape.length - 1) {
            Object row = java.lang.reflect.Array.newInstance(type, shape[depth]);
            System.arraycopy(flat, at[0], row, 0, shape[depth]);
            at[0] += shape[depth];
            return row;
        }
        int[] sizes = new int[shape.length - depth];
        Object all = java.lang.reflect.Array.newInstance(type, sizes);
        Object rows = java.lang.reflect.Array.newInstance(all.getClass().getComponentType(), shape[depth]);
        for (int i = 0; i < shape[depth]; i++) {
            java.lang.reflect.Array.set(rows, i, nested(flat, shape, depth + 1, at));
        }
        return rows;
    }

    /** Fills a buffer as an app does that does not rewind it. */
    private static ByteBuffer put(ByteBuffer to, Object flat) {
        for (int i = 0; i < java.lang.reflect.Array.getLength(flat); i++) {
            Object value = java.lang.reflect.Array.get(flat, i);
            if (value instanceof Float) {
                to.putFloat((Float) value);
            } else if (value instanceof Integer) {
                to.putInt((Integer) value);
            } else if (value instanceof Short) {
                to.putShort((Short) value);
            } else if (value instanceof Long) {
                to.putLong((Long) value);
            } else if (value instanceof Double) {
                to.putDouble((Double) value);
            } else {
                to.put((Byte) value);
            }
        }
        return to;
    }

    private void tensor(String[] line) throws Exception {
        TensorType[] type = {TensorType.of(null)};
        Object values = array(line[2], type);
        for (int i = 3; i + 1 < line.length; i += 2) {
            if (line[i].equals("quantized")) {
                String[] both = line[i + 1].split(",");
                type[0] = type[0].quantized(Double.parseDouble(both[0]), Integer.parseInt(both[1]));
            } else if (line[i].equals("op")) {
                type[0] = type[0].op(Integer.parseInt(line[i + 1]));
            }
        }
        switch (line[0]) {
            case "raw": frame.raw(line[1], values, type[0]); break;
            case "input": frame.input(line[1], values, type[0]); break;
            case "output": frame.output(line[1], values, type[0]); break;
            case "layer": frame.layer(line[1], values, type[0]); break;
            case "postprocessed": frame.postprocessed(line[1], values, type[0]); break;
            default: throw new IllegalArgumentException(line[0]);
        }
    }

    private void run(String[] line) throws Exception {
        switch (line[0]) {
            case "level": monitor.setLevel(Level.of(line[1])); break;
            case "frame": frame = monitor.frame(); break;
            case "close": frame.close(); break;
            case "like litert":
                frame.input("image", new byte[] {-1, 0, 1}, TensorType.ofTensor(LikeLiteRt.tensor()));
                frame.output("scores", new float[] {1, 2}, TensorType.ofTensor("nothing"));
                break;
            case "label": frame.label(Long.parseLong(line[1])); break;
            case "note": frame.note(line[1], line[2]); break;
            case "rate": frame.sampleRate(Double.parseDouble(line[1])); break;
            case "stage": frame.stage(line[1], () -> { }); break;
            case "inference": frame.inference(() -> { }); break;
            case "layer_time": frame.layerTime(line[1], line[2], Long.parseLong(line[3])); break;
            case "given": frame.input(line[1], line[2].equals("null") ? null : new Object()); break;
            case "call":
                Object result = array(line[3], new TensorType[1]);
                Object got = frame.call(line[1], array(line[2], new TensorType[1]), given -> result);
                if (got != result) {
                    throw new AssertionError("the function's result is not what call returns");
                }
                break;
            case "throw":
                try {
                    frame.call(line[1], 1.0, given -> {
                        throw new java.io.IOException("of the app");
                    });
                    throw new AssertionError("the app's exception is lost");
                } catch (java.io.IOException expected) {
                    System.out.println("thrown " + expected.getMessage());
                }
                break;
            case "sensor":
                double[] values = new double[line.length - 2];
                for (int i = 0; i < values.length; i++) {
                    values[i] = Double.parseDouble(line[i + 2]);
                }
                monitor.sensor(line[1], values);
                break;
            case "flush": System.out.println("flushed " + monitor.flush(20_000)); break;
            case "lost": System.out.println("lost " + monitor.framesLost() + " " + monitor.problem()); break;
            case "say": System.out.println(line[1]); break;
            default: tensor(line);
        }
    }

    /** Runs the script; arguments: folder, then names and values of options. */
    public static void main(String[] options) throws Exception {
        Monitor.Builder builder = builder(options);
        builder.sensor("failing", () -> {
            throw new IllegalStateException("no sensor");
        });
        Monitor monitor = builder.build();
        Script script = new Script(monitor);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            script.run(line.split("\t", -1));
            System.out.flush();
        }
        monitor.close();
    }
}
