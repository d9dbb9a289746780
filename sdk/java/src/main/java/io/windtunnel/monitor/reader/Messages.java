package io.windtunnel.monitor.reader;

import java.util.Arrays;

/** Decodes the messages of edge.proto; unknown fields are skipped. */
final class Messages {
    private Messages() {}

    static EdgeLog.Frame frame(ProtoReader fields) {
        EdgeLog.Frame frame = new EdgeLog.Frame();
        for (int field = fields.next(); field != 0; field = fields.next()) {
            switch (field) {
                case 1:
                    frame.number = fields.varint();
                    break;
                case 2:
                    frame.time = fields.time();
                    break;
                case 3:
                    frame.level = (int) fields.varint();
                    break;
                case 4:
                    frame.tensors.add(tensor(fields.inner()));
                    break;
                case 5:
                    frame.timings.add(timing(fields.inner()));
                    break;
                case 6:
                    frame.memoryBytes = fields.varint();
                    break;
                default:
                    rest(field, frame, fields);
            }
        }
        return frame;
    }

    private static void rest(int field, EdgeLog.Frame frame, ProtoReader fields) {
        switch (field) {
            case 7:
                value(frame, fields.inner());
                break;
            case 8:
                frame.label = fields.varint();
                break;
            case 9:
                frame.framesLost = fields.varint();
                break;
            case 10:
                frame.leftOut.add(fields.text());
                break;
            case 11:
                frame.sampleRate = fields.float64();
                break;
            default:
                fields.skip();
        }
    }

    private static void value(EdgeLog.Frame frame, ProtoReader fields) {
        String key = "";
        String value = "";
        for (int field = fields.next(); field != 0; field = fields.next()) {
            if (field == 1) {
                key = fields.text();
            } else if (field == 2) {
                value = fields.text();
            } else {
                fields.skip();
            }
        }
        frame.values.put(key, value);
    }

    private static EdgeLog.Tensor tensor(ProtoReader fields) {
        EdgeLog.Tensor tensor = new EdgeLog.Tensor();
        for (int field = fields.next(); field != 0; field = fields.next()) {
            switch (field) {
                case 1:
                    tensor.role = (int) fields.varint();
                    break;
                case 2:
                    tensor.name = fields.text();
                    break;
                case 3:
                    tensor.element = (int) fields.varint();
                    break;
                case 4:
                    tensor.shape = sizes(tensor.shape, fields);
                    break;
                case 5:
                    tensor.data = fields.bytes();
                    break;
                case 6:
                    tensor.statistics = figures(fields.inner());
                    break;
                default:
                    rest(field, tensor, fields);
            }
        }
        return tensor;
    }

    private static void rest(int field, EdgeLog.Tensor tensor, ProtoReader fields) {
        switch (field) {
            case 7:
                tensor.scale = fields.float64();
                break;
            case 8:
                tensor.zeroPoint = (int) fields.varint();
                break;
            case 9:
                tensor.redacted = fields.varint() != 0;
                break;
            case 10:
                tensor.opIndex = (int) fields.varint() - 1;
                break;
            default:
                fields.skip();
        }
    }

    private static int[] sizes(int[] before, ProtoReader fields) {
        ProtoReader packed = fields.isPacked() ? fields.inner() : null;
        int[] sizes = before;
        do {
            if (packed != null && !packed.hasMore()) {
                break;
            }
            sizes = Arrays.copyOf(sizes, sizes.length + 1);
            sizes[sizes.length - 1] = (int) (packed != null ? packed : fields).varint();
        } while (packed != null);
        return sizes;
    }

    private static EdgeLog.Figures figures(ProtoReader fields) {
        EdgeLog.Figures figures = new EdgeLog.Figures();
        for (int field = fields.next(); field != 0; field = fields.next()) {
            switch (field) {
                case 1:
                    figures.count = fields.varint();
                    break;
                case 2:
                    figures.nonFinite = fields.varint();
                    break;
                case 3:
                    figures.min = fields.float32();
                    break;
                case 4:
                    figures.max = fields.float32();
                    break;
                case 5:
                    figures.mean = fields.float32();
                    break;
                case 6:
                    figures.std = fields.float32();
                    break;
                case 7:
                    figures.quantiles = floats(figures.quantiles, fields);
                    break;
                case 8:
                    figures.projection = floats(figures.projection, fields);
                    break;
                default:
                    fields.skip();
            }
        }
        return figures;
    }

    private static float[] floats(float[] before, ProtoReader fields) {
        ProtoReader packed = fields.isPacked() ? fields.inner() : null;
        float[] values = before;
        do {
            if (packed != null && !packed.hasMore()) {
                break;
            }
            values = Arrays.copyOf(values, values.length + 1);
            values[values.length - 1] = (packed != null ? packed : fields).float32();
        } while (packed != null);
        return values;
    }

    private static EdgeLog.Timing timing(ProtoReader fields) {
        EdgeLog.Timing timing = new EdgeLog.Timing();
        for (int field = fields.next(); field != 0; field = fields.next()) {
            switch (field) {
                case 1:
                    timing.kind = (int) fields.varint();
                    break;
                case 2:
                    timing.name = fields.text();
                    break;
                case 3:
                    timing.elapsed = fields.time();
                    break;
                case 4:
                    timing.begin = fields.time();
                    break;
                case 5:
                    timing.op = fields.text();
                    break;
                default:
                    fields.skip();
            }
        }
        return timing;
    }

    static EdgeLog.Reading reading(ProtoReader fields) {
        EdgeLog.Reading reading = new EdgeLog.Reading();
        for (int field = fields.next(); field != 0; field = fields.next()) {
            switch (field) {
                case 1:
                    reading.time = fields.time();
                    break;
                case 2:
                    reading.sensor = fields.text();
                    break;
                case 3:
                    reading.values = doubles(reading.values, fields);
                    break;
                default:
                    fields.skip();
            }
        }
        return reading;
    }

    private static double[] doubles(double[] before, ProtoReader fields) {
        ProtoReader packed = fields.isPacked() ? fields.inner() : null;
        double[] values = before;
        do {
            if (packed != null && !packed.hasMore()) {
                break;
            }
            values = Arrays.copyOf(values, values.length + 1);
            values[values.length - 1] = (packed != null ? packed : fields).float64();
        } while (packed != null);
        return values;
    }
}
