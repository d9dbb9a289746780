package io.windtunnel.monitor;

import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Map;

/** What can be found out about the device and the process without the app's help, on Android and elsewhere. */
final class Device {
    private Device() {}

    /** Adds the facts that the app did not give. */
    static void addTo(Map<String, String> facts) {
        String release = androidField("android.os.Build$VERSION", "RELEASE");
        String maker = androidField("android.os.Build", "MANUFACTURER");
        String model = androidField("android.os.Build", "MODEL");
        String os = release != null ? "Android " + release
                : System.getProperty("os.name", "") + " " + System.getProperty("os.version", "");
        if (!facts.containsKey("os")) {
            facts.put("os", os.trim());
        }
        if (!facts.containsKey("device")) {
            String device = model != null ? (maker == null ? "" : maker + " ") + model : System.getProperty("os.arch", "");
            facts.put("device", device.trim());
        }
    }

    private static String androidField(String type, String field) {
        try {
            Object value = Class.forName(type).getField(field).get(null);
            return value == null ? null : value.toString();
        } catch (Exception notAndroid) {
            return null;
        } catch (LinkageError notAndroid) {
            return null;
        }
    }

    /** The process id; 0 if it cannot be found out. */
    static long processId() {
        try {
            return Long.parseLong(new File("/proc/self").getCanonicalFile().getName());
        } catch (IOException | NumberFormatException notLinux) {
            return processIdOfVirtualMachine();
        }
    }

    private static long processIdOfVirtualMachine() {
        try {
            Class<?> handle = Class.forName("java.lang.ProcessHandle");
            Object current = handle.getMethod("current").invoke(null);
            return (Long) handle.getMethod("pid").invoke(current);
        } catch (Exception older) {
            return 0;
        }
    }

    /** Resident memory of the process in bytes; 0 if it cannot be found out. */
    static long residentBytes() {
        try (BufferedReader lines = new BufferedReader(
                new InputStreamReader(new FileInputStream("/proc/self/status"), "US-ASCII"))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.startsWith("VmRSS:")) {
                    return 1024 * Long.parseLong(line.replaceAll("[^0-9]", ""));
                }
            }
        } catch (IOException | NumberFormatException notLinux) {
            return 0;
        }
        return 0;
    }
}
