"""What the offline commands do on this machine: conversion, the failing case, the demo's model, JSON documents."""
