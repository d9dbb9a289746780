package io.windtunnel.monitor.reader;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.util.Map;

/** Prints what the reader gives, a line for each thing; fields are separated by tabs. */
public final class Dump {
    private Dump() {}

    private static void log(File path) throws IOException {
        EdgeLog log = EdgeLogReader.read(path);
        for (String problem : log.problems) {
            System.out.println("problem\t" + problem);
        }
        for (Map.Entry<String, String> fact : log.device.entrySet()) {
            System.out.println("device\t" + fact.getKey() + "\t" + fact.getValue());
        }
        for (EdgeLog.Reading reading : log.readings) {
            System.out.println("sensor\t" + reading.sensor + "\t" + java.util.Arrays.toString(reading.values));
        }
        for (EdgeLog.Frame frame : log.frames) {
            System.out.println("frame\t" + frame.number + "\t" + frame.time + "\t" + frame.level + "\t" + frame.label + "\t"
                    + frame.values + "\t" + frame.framesLost + "\t" + frame.leftOut);
            for (EdgeLog.Tensor tensor : frame.tensors) {
                System.out.println("tensor\t" + tensor.role + "\t" + tensor.name + "\t" + tensor.element + "\t"
                        + java.util.Arrays.toString(tensor.shape) + "\t" + hex(tensor.data) + "\t" + tensor.scale + "\t"
                        + tensor.zeroPoint + "\t" + tensor.opIndex + "\t" + tensor.redacted + "\t" + figures(tensor.statistics));
            }
            for (EdgeLog.Timing timing : frame.timings) {
                System.out.println("timing\t" + timing.kind + "\t" + timing.name + "\t" + timing.elapsed + "\t" + timing.begin
                        + "\t" + timing.op);
            }
        }
    }

    private static String figures(EdgeLog.Figures figures) {
        return figures == null ? "" : figures.count + " " + figures.nonFinite + " " + figures.min + " " + figures.max + " "
                + figures.mean + " " + figures.std + " " + java.util.Arrays.toString(figures.quantiles) + " "
                + java.util.Arrays.toString(figures.projection);
    }

    private static String hex(byte[] data) {
        StringBuilder digits = new StringBuilder();
        for (byte each : data) {
            digits.append(Integer.toHexString(0x100 | each & 0xFF), 1, 3);
        }
        return digits.toString();
    }

    private static void container(File path) throws IOException {
        new McapReader(Files.readAllBytes(path.toPath()), new McapReader.Handler() {
            @Override
            public void header(String profile, String library) {
                System.out.println("Header\t" + profile + "\t" + library);
            }

            @Override
            public void schema(int id, String name, String encoding, byte[] data) {
                System.out.println("Schema\t" + id + "\t" + name + "\t" + encoding + "\t" + hex(data));
            }

            @Override
            public void channel(int id, int schema, String topic, String encoding, Map<String, String> metadata) {
                System.out.println("Channel\t" + id + "\t" + schema + "\t" + topic + "\t" + encoding + "\t" + metadata);
            }

            @Override
            public void message(int channel, long sequence, long logTime, long publishTime, byte[] data) {
                System.out.println("Message\t" + channel + "\t" + sequence + "\t" + logTime + "\t" + publishTime + "\t" + hex(data));
            }

            @Override
            public void metadata(String name, Map<String, String> values) {
                System.out.println("Metadata\t" + name + "\t" + values);
            }

            @Override
            public void problem(String words) {
                System.out.println("problem\t" + words);
            }
        }).read();
    }

    /** Arguments: "log" or "container", then paths. After each path it prints a line "end". */
    public static void main(String[] arguments) throws IOException {
        for (int i = 1; i < arguments.length; i++) {
            if (arguments[0].equals("log")) {
                log(new File(arguments[i]));
            } else {
                container(new File(arguments[i]));
            }
            System.out.println("end");
        }
    }
}
