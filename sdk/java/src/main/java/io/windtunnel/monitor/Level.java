package io.windtunnel.monitor;

import java.util.Locale;

/** How much the monitor records. */
public enum Level {
    /** Nothing. */
    OFF(0),
    /** Statistics of every tensor, no values. */
    STATISTICS(1),
    /** Values of what enters and leaves the model and the app's functions. */
    IO(2),
    /** The same, and the output of every layer. */
    LAYERS(3);

    final int code;

    Level(int code) {
        this.code = code;
    }

    /** The name in settings and logs: {@code off}, {@code statistics}, {@code io}, {@code layers}. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    /**
     * The level with this name; an unknown name is {@link #OFF}, so that a wrong setting never breaks an app.
     *
     * @param name one of {@code off}, {@code statistics}, {@code io}, {@code layers}, in any case
     */
    public static Level of(String name) {
        for (Level level : values()) {
            if (level.name().equalsIgnoreCase(name)) {
                return level;
            }
        }
        return OFF;
    }
}
