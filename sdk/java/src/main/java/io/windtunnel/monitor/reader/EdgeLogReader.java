package io.windtunnel.monitor.reader;

import java.io.DataInputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.Map;

/** Reads edge logs, whole or damaged: {@code EdgeLog log = EdgeLogReader.read(folder);}. */
public final class EdgeLogReader {
    private static final int FRAMES = 1;
    private static final int READINGS = 2;

    private EdgeLogReader() {}

    /**
     * Reads a log.
     *
     * @param path a file, or a folder with the files of a log
     * @return what it has; {@link EdgeLog#problems} says what was skipped
     * @throws IOException a file cannot be read
     */
    public static EdgeLog read(File path) throws IOException {
        File[] files = path.isDirectory() ? path.listFiles() : new File[] {path};
        if (files == null) {
            throw new IOException(path + " cannot be listed");
        }
        Arrays.sort(files);
        EdgeLog log = new EdgeLog();
        for (File file : files) {
            if (!path.isDirectory() || file.getName().endsWith(".mcap")) {
                new McapReader(contents(file), new Collector(log, file.getName())).read();
            }
        }
        return log;
    }

    private static byte[] contents(File file) throws IOException {
        byte[] bytes = new byte[(int) Math.min(Integer.MAX_VALUE - 8, file.length())];
        try (DataInputStream in = new DataInputStream(new FileInputStream(file))) {
            in.readFully(bytes);
        }
        return bytes;
    }

    /** Puts messages into the log. The ids of channels are fixed, so that a damaged channel record costs nothing. */
    private static final class Collector implements McapReader.Handler {
        private final EdgeLog log;
        private final String file;

        Collector(EdgeLog log, String file) {
            this.log = log;
            this.file = file;
        }

        @Override
        public void header(String profile, String library) {
            if (!profile.startsWith("windtunnel.edge/")) {
                problem("its profile is \"" + profile + "\": it is not an edge log");
            }
        }

        @Override
        public void schema(int id, String name, String encoding, byte[] data) {}

        @Override
        public void channel(int id, int schema, String topic, String encoding, Map<String, String> metadata) {}

        @Override
        public void message(int channel, long sequence, long logTime, long publishTime, byte[] data) {
            try {
                ProtoReader fields = new ProtoReader(data, 0, data.length);
                if (channel == FRAMES) {
                    log.frames.add(Messages.frame(fields));
                } else if (channel == READINGS) {
                    log.readings.add(Messages.reading(fields));
                }
            } catch (RuntimeException damaged) {
                problem("a message cannot be read: " + damaged.getMessage());
            }
        }

        @Override
        public void metadata(String name, Map<String, String> values) {
            if (name.equals("windtunnel.device")) {
                log.device.clear();
                log.device.putAll(values);
            } else if (name.equals("windtunnel.end")) {
                log.end.putAll(values);
            }
        }

        @Override
        public void problem(String words) {
            log.problems.add(file + ": " + words);
        }
    }
}
